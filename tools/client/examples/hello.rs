//! Two terminals: `cargo run -p ringway-client --example hello -- alice bob` and the other way round.
use ringway_client::http::{Api, SessionTokens};
use ringway_client::{Client, Event, Options, user};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (me, peer) = (args.next().unwrap_or("alice".into()), args.next().unwrap_or("bob".into()));
    let api = Api::new("http://127.0.0.1:7480")?;
    let session = api.register_or_login(&me, "correct horse battery", "laptop", "desktop").await?;

    let tokens = SessionTokens::new(api, session);
    let (client, mut events) = Client::connect(Options::new("ws://127.0.0.1:7400/v1/ws", "laptop", tokens))?;
    let sent = client.enqueue(ringway_client::Draft::text(user(peer), "hi")).await?;
    tokio::spawn(async move { println!("durable: {:?}", sent.await) });
    while let Some(event) = events.next().await {
        match event {
            Event::Message(message) => println!("{} #{}: {}", message.from, message.seq, message.body),
            Event::State(state) => eprintln!("{state:?}"),
            _ => {}
        }
    }
    Ok(())
}
