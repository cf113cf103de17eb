//! The Lua scripts, each with the helpers that it needs before it.
//!
//! Of a server whose memory is full (`maxmemory`), Redis refuses every command that may take more of it. Those that make
//! room, or without which none is made, are carried out all the same (`allow-oom`, Redis 7.0): the numbering of what is
//! in the log already by the daemons, and what is bounded by the number of people: epochs, routes, cursors, read marks.
//! What fills the memory is new messages, and gateways number none.

use std::sync::LazyLock;

use fred::types::scripts::Script;

/// A script from files of `scripts/`, one after the other.
macro_rules! script {
    (past maxmemory $name:ident, $($file:literal),+) => {
        script!(@ $name, "#!lua flags=allow-oom\n", $($file),+);
    };
    (@ $name:ident, $head:literal, $($file:literal),+) => {
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::from_lua(concat!($head, $(include_str!(concat!("scripts/", $file, ".lua")), "\n"),+))
        });
    };
    ($name:ident, $($file:literal),+) => {
        script!(@ $name, "", $($file),+);
    };
}

script!(past maxmemory INSTALL, "fence", "install");
script!(SERVES, "fence", "serves");
script!(NUMBER, "fence", "number");
script!(past maxmemory NUMBER_LOGGED, "fence", "number");
script!(past maxmemory ADD, "add");
script!(READ, "fence", "read");
script!(KNOWN, "fence", "known");
script!(ARCHIVED, "archived");
script!(STANDING, "standing");
script!(COMPARED, "fence", "compared");
script!(past maxmemory SET_DENSE, "fence", "set_dense");
script!(ENTRY, "entry");
script!(past maxmemory RAISE, "raise");
script!(WRITTEN, "written");
script!(past maxmemory READ_MARK, "read_mark");
script!(READ_ARCHIVED, "read_archived");
script!(past maxmemory ENTER, "clock", "enter");
script!(past maxmemory RENEW, "clock", "renew");
script!(LEAVE, "leave");
script!(past maxmemory SEAT, "clock", "seat");
script!(HOLDERS, "clock", "holders");
script!(past maxmemory RENEW_NODE, "clock", "renew_node");
script!(READ_NODE, "clock", "read_node");
script!(LEAVE_NODE, "leave_node");
script!(past maxmemory LIST_NODE, "clock", "list_node");
script!(NODES, "clock", "nodes");
