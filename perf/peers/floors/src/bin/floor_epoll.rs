//! The epoll floor as a program: `floor_epoll PORT [FAULT…]`, faults as [`ringway_floors::faults`] has them.

use ringway_floors::faults::Faults;

fn main() -> std::io::Result<()> {
    let faults = Faults::of(std::env::args().skip(2))?;
    ringway_floors::poll::run(&ringway_floors::listen::listen()?, faults)
}
