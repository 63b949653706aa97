//! Slots of Redis Cluster: which one a key is in, and keys that are to be in a certain one.
//! See <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model>.

use std::sync::LazyLock;

use crc::{CRC_16_XMODEM, Crc};

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// How many there are.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key.
pub(crate) fn of_key(key: &str) -> u16 {
    CRC.checksum(tag(key).unwrap_or(key).as_bytes()) % SLOTS
}

/// What alone decides on the slot, if the key has braces for that: what is between the first `{` and the first `}` behind
/// it, unless that is nothing.
pub(crate) fn tag(key: &str) -> Option<&str> {
    let (_, behind) = key.split_once('{')?;
    let (tag, _) = behind.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// A short text whose slot this is.
pub(crate) fn tag_of(slot: u16) -> &'static str {
    static TAGS: LazyLock<Vec<String>> = LazyLock::new(tags);
    &TAGS[usize::from(slot % SLOTS)]
}

/// The first text for each slot, of those that have one to three letters and digits, the shorter ones first.
fn tags() -> Vec<String> {
    let mut tags = vec![String::new(); usize::from(SLOTS)];
    enter_tags(&mut tags, &mut String::new(), 3);
    tags
}

/// Those that begin with this text and have so many characters more at the most.
fn enter_tags(tags: &mut [String], text: &mut String, more: usize) {
    for character in ('0'..='9').chain('A'..='Z').chain('a'..='z') {
        text.push(character);
        let tag = &mut tags[usize::from(of_key(text))];
        if tag.is_empty() || tag.len() > text.len() {
            tag.clone_from(text);
        }
        if more > 1 {
            enter_tags(tags, text, more - 1);
        }
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_the_slot_that_the_servers_say() {
        // From the specification, and as CLUSTER KEYSLOT answers.
        for (key, slot) in
            [("123456789", 0x31c3), ("foo", 12_182), ("", 0), ("{}foo", 9500), ("a{foo}{bar}", 12_182)]
        {
            assert_eq!(of_key(key), slot, "{key}");
        }
        assert_eq!(tag("a{}b{c}"), None);
        assert_eq!(tag("a{{b}}c"), Some("{b"));
        assert_eq!(tag("a{b"), None);
    }

    #[test]
    fn every_slot_has_a_tag_of_its_own() {
        for slot in 0..SLOTS {
            let tag = tag_of(slot);
            assert!((1..=3).contains(&tag.len()), "{slot}");
            assert_eq!(of_key(&format!("any{{{tag}}}thing")), slot);
        }
    }
}
