//! What the relays on tokio share: one thread, a task for each connection, a write for each frame.
//!
//! A task that reads writes to the others' sinks itself, as the libraries' own examples do; that is the cheapest way
//! they offer for a message that is not gathered with others. A dropped task leaves its member in its room.

use std::cell::RefCell;
use std::io::Result;
use std::net::TcpListener;
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::rooms::{Place, Rooms};

/// A connection's sink, which every sender to it takes in turn.
#[derive(Debug)]
pub struct Guest<S>(pub Rc<Mutex<S>>);

impl<S> Clone for Guest<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S> PartialEq for Guest<S> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// All pairs and rooms of a relay.
#[derive(Debug)]
pub struct House<S>(Rc<RefCell<Rooms<Guest<S>>>>);

impl<S> Clone for House<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S> House<S> {
    /// Takes a guest in, as [`Rooms::join`].
    pub fn join(&self, says: &[u8], guest: &Guest<S>) -> Option<Place> {
        self.0.borrow_mut().join(says, guest.clone())
    }

    /// Who is there at this moment.
    pub fn guests(&self, place: Place) -> Rc<Vec<Guest<S>>> {
        self.0.borrow().snapshot(place)
    }

    /// A guest goes.
    pub fn leave(&self, place: Place, guest: &Guest<S>) {
        self.0.borrow_mut().leave(place, guest);
    }
}

/// Accepts connections for ever and gives each a task.
///
/// # Errors
/// The listener fails.
pub fn run<S: 'static, T: Future<Output = ()> + 'static>(
    listener: TcpListener,
    serve: impl Fn(TcpStream, House<S>) -> T,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let house = House(Rc::new(RefCell::new(Rooms::new())));
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream, house.clone()));
        }
    })
}
