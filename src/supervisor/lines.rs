//! Lines out of a stream of bytes, none longer than a bound.

/// One line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Whether the line was longer than the bound and lost its rest.
    pub cut: bool,
}

/// Collects bytes until a line is whole.
#[derive(Debug)]
pub struct Lines {
    longest: usize,
    partial: Vec<u8>,
    cut: bool,
}

impl Lines {
    /// Lines of at most this many bytes.
    pub const fn new(longest: usize) -> Self {
        Self { longest, partial: Vec::new(), cut: false }
    }

    /// The lines that `bytes` completes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut whole = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n");
            let body = text.unwrap_or(piece);
            let room = self.longest.saturating_sub(self.partial.len());
            self.cut = self.cut || body.len() > room;
            self.partial.extend(body.iter().take(room));
            if text.is_some() {
                whole.push(self.flush());
            }
        }
        whole
    }

    /// What came after the last line end.
    pub fn finish(&mut self) -> Option<Line> {
        (!self.partial.is_empty()).then(|| self.flush())
    }

    fn flush(&mut self) -> Line {
        let text = String::from_utf8_lossy(&self.partial).trim_end_matches('\r').to_owned();
        self.partial.clear();
        Line { text, cut: std::mem::take(&mut self.cut) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_lines_lose_their_rest_and_nothing_else() {
        let mut lines = Lines::new(4);
        let line = |text: &str, cut| Line { text: text.to_owned(), cut };
        assert_eq!(lines.push(b"one\ntoo long"), [line("one", false)]);
        assert_eq!(lines.push(b"er\nfour\n\nen"), [line("too ", true), line("four", false), line("", false)]);
        assert_eq!(lines.finish(), Some(line("en", false)));
        assert_eq!(lines.finish(), None);
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_does_not_matter(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..200), cut in 0..200usize) {
            let whole = Lines::new(8).push(&bytes);
            let (one, other) = bytes.split_at(cut.min(bytes.len()));
            let mut lines = Lines::new(8);
            let mut parts = lines.push(one);
            parts.extend(lines.push(other));
            prop_assert_eq!(whole, parts);
        }
    }
}
