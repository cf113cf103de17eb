//! How many queues are one process's share. Pure.

/// The share of `owner` among `members` that live: no two differ by more than one, and together they are all queues.
/// Those first in the order of names have the larger shares. Who is not among them counts itself in.
pub(crate) fn share(queues: usize, members: &[String], owner: &str) -> usize {
    let mut names: Vec<&str> = members.iter().map(String::as_str).chain([owner]).collect();
    names.sort_unstable();
    names.dedup();
    let place = names.iter().position(|name| *name == owner).unwrap_or(0);
    let (each, rest) = (queues / names.len(), queues % names.len());
    each + usize::from(place < rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_are_even_and_together_everything(queues in 0..40_usize, members in 1..12_usize) {
            let names: Vec<String> = (0..members).map(|n| format!("persist-{n}")).collect();
            let shares: Vec<usize> = names.iter().map(|name| share(queues, &names, name)).collect();
            prop_assert_eq!(shares.iter().sum::<usize>(), queues);
            let most = queues.div_ceil(members);
            prop_assert!(shares.iter().all(|share| *share == most || *share + 1 == most), "{:?}", shares);
        }
    }

    #[test]
    fn whoever_is_not_listed_yet_counts_itself() {
        assert_eq!(share(8, &[], "a"), 8);
        assert_eq!(share(8, &["a".to_owned()], "b"), 4);
    }
}
