//! A relay on tokio-tungstenite: `relay_tungstenite PORT`.

use std::rc::Rc;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use ringway_floors::guests::{Guest, House, run};
use ringway_floors::listen::listen;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;

type Sink = SplitSink<WebSocketStream<TcpStream>, Message>;

fn main() -> std::io::Result<()> {
    run(listen()?, serve)
}

async fn serve(stream: TcpStream, house: House<Sink>) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (sink, mut stream) = socket.split();
    let own = Guest(Rc::new(Mutex::new(sink)));
    let mut place = None;
    // An error is the end of the connection, which no client of a relay has to be told about.
    while let Some(Ok(message)) = stream.next().await {
        match (message, place) {
            (Message::Close(_), _) => break,
            (Message::Ping(_) | Message::Pong(_) | Message::Frame(_), _) => {
                let _ = own.0.lock().await.flush().await;
            }
            (says, None) => {
                place = house.join(&says.into_data(), &own);
                if place.is_none() || own.0.lock().await.send(Message::text("ok")).await.is_err() {
                    break;
                }
            }
            (message, Some(place)) => {
                for guest in house.guests(place).iter().filter(|guest| **guest != own) {
                    let _ = guest.0.lock().await.send(message.clone()).await;
                }
            }
        }
    }
    if let Some(place) = place {
        house.leave(place, &own);
    }
}
