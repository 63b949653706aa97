//! Commands as bytes, where they are put together of pieces.

use std::io::Write;

/// Begins a command of so many words.
pub(crate) fn begin(out: &mut Vec<u8>, words: usize) {
    number(out, b'*', words);
}

/// One word of a command.
pub(crate) fn word(out: &mut Vec<u8>, word: &[u8]) {
    number(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// The same, of a number.
pub(crate) fn decimal(out: &mut Vec<u8>, value: u64) {
    // As long as the longest.
    let mut digits = [0; 20];
    let mut rest = &mut digits[..];
    // There is room for it.
    let _ = write!(rest, "{value}");
    let unused = rest.len();
    word(out, &digits[..digits.len() - unused]);
}

fn number(out: &mut Vec<u8>, kind: u8, value: usize) {
    out.push(kind);
    // A vector takes all that is written.
    let _ = write!(out, "{value}\r\n");
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    #[test]
    fn commands_are_as_the_client_library_packs_them() {
        let mut packed = Vec::new();
        begin(&mut packed, 4);
        word(&mut packed, b"SET");
        word(&mut packed, "a key, \u{e9}".as_bytes());
        decimal(&mut packed, u64::MAX);
        decimal(&mut packed, 0);
        assert_eq!(packed, cmd("SET").arg("a key, \u{e9}").arg(u64::MAX).arg(0).get_packed_command());
    }
}
