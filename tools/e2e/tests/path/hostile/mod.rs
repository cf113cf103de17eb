//! Hostile input at the public ports: each with its one documented answer.

mod commands;
mod frames;
mod sign_in;
mod tokens;
mod upgrade;

use ringway_e2e::peer::{Login, Peer, user};
use ringway_e2e::people::People;
use ringway_e2e::server::Server;

/// The server serves others as if nothing had been.
async fn check_unharmed(server: &Server) {
    let token = People::of(&server.data()).await.unwrap().add("witness").await.unwrap();
    let (mut peer, _) = Peer::connect(server.addresses().ws, &Login::new(&token, "phone")).await.unwrap();
    peer.say(&user("witness"), &format!("c{}", std::process::id()), "still there").await.unwrap();
}
