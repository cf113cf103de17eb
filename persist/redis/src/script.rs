//! The Lua scripts, each with the helpers that it needs before it.

use std::sync::LazyLock;

use fred::types::scripts::Script;

/// A script from files of `scripts/`, one after the other.
macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::from_lua(concat!($(include_str!(concat!("scripts/", $file, ".lua")), "\n"),+))
        });
    };
}

script!(INSTALL, "fence", "install");
script!(SERVES, "fence", "serves");
script!(NUMBER, "fence", "number");
script!(READ, "fence", "read");
script!(KNOWN, "fence", "known");
script!(ARCHIVED, "archived");
script!(STANDING, "standing");
script!(COMPARED, "fence", "compared");
script!(SET_DENSE, "fence", "set_dense");
script!(ENTRY, "entry");
script!(RAISE, "raise");
script!(WRITTEN, "written");
script!(READ_MARK, "read_mark");
script!(READ_ARCHIVED, "read_archived");
script!(ENTER, "clock", "enter");
script!(RENEW, "clock", "renew");
script!(LEAVE, "leave");
script!(SEAT, "clock", "seat");
script!(HOLDERS, "clock", "holders");
script!(RENEW_NODE, "clock", "renew_node");
script!(READ_NODE, "clock", "read_node");
script!(LEAVE_NODE, "leave_node");
script!(LIST_NODE, "clock", "list_node");
script!(NODES, "clock", "nodes");
