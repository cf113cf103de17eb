//! The epoll floor as a program: `floor_epoll PORT`.

fn main() -> std::io::Result<()> {
    ringway_floors::poll::run(&ringway_floors::listen::listen()?)
}
