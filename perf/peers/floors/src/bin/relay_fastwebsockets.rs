//! A relay on fastwebsockets: `relay_fastwebsockets PORT`.

use std::rc::Rc;

use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocketError, WebSocketWrite, after_handshake_split};
use ringway_floors::guests::{Guest, House, run};
use ringway_floors::handshake;
use ringway_floors::listen::listen;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Mutex;

type Sink = WebSocketWrite<OwnedWriteHalf>;

fn main() -> std::io::Result<()> {
    run(listen()?, serve)
}

async fn upgrade(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((_, response)) = handshake::answer(&request) {
            return stream.write_all(&response).await;
        }
    }
}

async fn serve(mut stream: TcpStream, house: House<Sink>) {
    if upgrade(&mut stream).await.is_err() {
        return;
    }
    let (reader, writer) = stream.into_split();
    let (mut reader, writer) = after_handshake_split(reader, writer, Role::Server);
    let own = Guest(Rc::new(Mutex::new(writer)));
    let mut place = None;
    // An error is the end of the connection, which no client of a relay has to be told about.
    loop {
        let answer = &mut |frame| {
            let own = own.clone();
            async move { own.0.lock().await.write_frame(frame).await }
        };
        let Ok(frame) = reader.read_frame::<_, WebSocketError>(answer).await else { break };
        match (frame.opcode, place) {
            (OpCode::Close, _) => break,
            (OpCode::Ping | OpCode::Pong, _) => {}
            (_, None) => {
                place = house.join(&frame.payload, &own);
                let answer = Frame::text(Payload::Borrowed(b"ok"));
                if place.is_none() || own.0.lock().await.write_frame(answer).await.is_err() {
                    break;
                }
            }
            (opcode, Some(place)) => {
                for guest in house.guests(place).iter().filter(|guest| **guest != own) {
                    let copy = Frame::new(frame.fin, opcode, None, Payload::Borrowed(&frame.payload));
                    let _ = guest.0.lock().await.write_frame(copy).await;
                }
            }
        }
    }
    if let Some(place) = place {
        house.leave(place, &own);
    }
}
