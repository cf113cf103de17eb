//! The uring floor as a program: `floor_uring PORT`.

fn main() -> std::io::Result<()> {
    ringway_floors::ring::run(ringway_floors::listen::listen()?)
}
