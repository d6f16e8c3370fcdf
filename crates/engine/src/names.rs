//! Names for containers that nobody named.

use coracle_container::ContainerId;

const ADJECTIVES: [&str; 32] = [
    "able", "amber", "brave", "brisk", "calm", "clear", "crisp", "deft", "eager", "early", "fair", "fleet",
    "fresh", "gentle", "grand", "hardy", "keen", "light", "lively", "lucid", "mellow", "merry", "neat",
    "noble", "proud", "quick", "quiet", "ready", "sound", "steady", "swift", "tidy",
];
const BOATS: [&str; 32] = [
    "bark", "barge", "brig", "canoe", "catboat", "clipper", "cog", "corvette", "currach", "cutter", "dhow",
    "dinghy", "dory", "felucca", "frigate", "galley", "junk", "kayak", "ketch", "knarr", "lugger", "packet",
    "pinnace", "pirogue", "punt", "raft", "schooner", "skiff", "sloop", "wherry", "xebec", "yawl",
];

/// Returns a name made from an id: readable, and as unlikely to meet its double as its four digits say.
pub fn made_up(id: &ContainerId) -> String {
    let digits = |range: std::ops::Range<usize>| {
        usize::from_str_radix(&id.as_str()[range], 16).expect("an id holds hexadecimal digits only")
    };
    let adjective = ADJECTIVES[digits(0..4) % ADJECTIVES.len()];
    let boat = BOATS[digits(4..8) % BOATS.len()];
    format!("{adjective}-{boat}-{}", &id.as_str()[8..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_of_the_id() {
        let name = made_up(&ContainerId::from_random([0x21; 32]));
        assert_eq!(name, "amber-barge-2121");
        assert!(crate::containers::is_name(&name));
    }
}
