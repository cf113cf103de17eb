//! Devices that come in: so many are served at once, the others wait.
//!
//! After a restart all devices come within seconds. Who stands in line takes what its mail took, which is less than a
//! task. The tasks that serve them stay for the next rush: tokio aligns each to 128 bytes, and what was freed of one is a
//! little too small for the next, so with a task for each device there lay 1,300 unused bytes of heap between what any
//! four or five of them keep. Devices whose token was accepted go first: they hold more, and are soon done.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Uplink;
use crate::mail::{ConnectionRef, Open};

/// Tasks at once: enough to keep a store busy that answers after milliseconds, and for it to answer many by one statement.
const AT_ONCE: usize = 64;

/// What is to be done for a device.
#[derive(Debug)]
enum Step {
    Attach(ConnectionRef),
    Open(Box<Open>),
}

/// The line, and how many are served.
#[derive(Debug, Default)]
pub(super) struct SignIns {
    attaches: VecDeque<ConnectionRef>,
    opens: VecDeque<Box<Open>>,
    tasks: usize,
    /// Tasks that wait for work.
    idle: usize,
}

impl SignIns {
    fn next(&mut self) -> Option<Step> {
        if let Some(to) = self.attaches.pop_front() {
            return Some(Step::Attach(to));
        }
        let open = self.opens.pop_front();
        if open.is_none() {
            // The room of a rush goes back with it.
            (self.attaches, self.opens) = (VecDeque::new(), VecDeque::new());
        }
        open.map(Step::Open)
    }
}

impl Uplink {
    /// A `connect` to be checked.
    pub(super) fn queue_open(self: &Rc<Self>, open: Box<Open>) {
        {
            let mut state = self.state.borrow_mut();
            state.opening.insert(open.to);
            state.sign_ins.opens.push_back(open);
        }
        self.serve_sign_ins();
    }

    /// A device to be put into its audiences.
    pub(super) fn queue_attach(self: &Rc<Self>, to: ConnectionRef) {
        self.state.borrow_mut().sign_ins.attaches.push_back(to);
        self.serve_sign_ins();
    }

    fn serve_sign_ins(self: &Rc<Self>) {
        let sign_ins = &mut self.state.borrow_mut().sign_ins;
        if sign_ins.idle > 0 {
            sign_ins.idle -= 1;
            self.sign_ins.notify_one();
        } else if sign_ins.tasks < AT_ONCE {
            sign_ins.tasks += 1;
            tokio::task::spawn_local(Rc::clone(self).serve());
        }
    }

    async fn serve(self: Rc<Self>) {
        loop {
            let step = self.state.borrow_mut().sign_ins.next();
            match step {
                Some(Step::Attach(to)) => Rc::clone(&self).attach(to).await,
                Some(Step::Open(open)) => Rc::clone(&self).open(*open).await,
                None => {
                    self.state.borrow_mut().sign_ins.idle += 1;
                    self.sign_ins.notified().await;
                }
            }
        }
    }
}
