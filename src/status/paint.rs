//! Colours and aligned columns for the text views. Knows nothing about what is shown.

use anstyle::{AnsiColor, Style};

/// Whether text may carry colour; decided once, by who knows where the text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// No escape sequences at all.
    Plain,
    /// ANSI colours.
    Ansi,
}

/// How a piece of text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Strong,
    /// Of less weight.
    Dim,
    /// Well.
    Green,
    /// Under way.
    Yellow,
    /// Wrong.
    Red,
    /// An identity.
    Blue,
    /// An account.
    Cyan,
    /// Must not be overlooked.
    Shout,
}

impl Tone {
    fn style(self) -> Style {
        let foreground = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Green => foreground(AnsiColor::Green),
            Self::Yellow => foreground(AnsiColor::Yellow),
            Self::Red => foreground(AnsiColor::Red),
            Self::Blue => foreground(AnsiColor::Blue),
            Self::Cyan => foreground(AnsiColor::Cyan),
            Self::Shout => foreground(AnsiColor::Red).bold().invert(),
        }
    }
}

impl Colour {
    /// `text` in the colours of `tone`.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if self == Self::Plain || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }
}

/// One cell of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

/// A cell of a tone.
pub fn toned(text: impl ToString, tone: Tone) -> Cell {
    Cell { text: text.to_string(), tone }
}

/// A plain cell.
pub fn cell(text: impl ToString) -> Cell {
    toned(text, Tone::Plain)
}

/// A plain cell that is empty without a value.
pub fn maybe(text: Option<impl ToString>) -> Cell {
    cell(text.map(|text| text.to_string()).unwrap_or_default())
}

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings, two spaces in and two between columns. A column without any text is left out.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<(Vec<Cell>, Option<Cell>)>,
}

impl Table {
    /// A table with these headings; an empty heading is allowed.
    pub fn new(columns: &[(&'static str, Side)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// One more row, with a note that gets a line of its own below it.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>, note: Option<Cell>) {
        self.rows.push((cells.into_iter().collect(), note));
    }

    /// The text, each line ended; empty without rows.
    pub fn render(&self, colour: Colour) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let widths: Vec<usize> = self.columns.iter().enumerate().map(|(at, column)| self.width(at, column.0)).collect();
        let heading: Vec<Cell> = self.columns.iter().map(|(name, _)| toned(name.to_uppercase(), Tone::Dim)).collect();
        let mut out = String::new();
        if self.columns.iter().any(|(name, _)| !name.is_empty()) {
            out.push_str(&self.line(&heading, &widths, colour));
        }
        for (cells, note) in &self.rows {
            out.push_str(&self.line(cells, &widths, colour));
            if let Some(Cell { text, tone }) = note {
                out.push_str(&format!("      {}\n", colour.paint(*tone, text)));
            }
        }
        out
    }

    /// Width of a column in characters; 0 when none of its cells has text.
    fn width(&self, at: usize, name: &str) -> usize {
        let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(at));
        match cells.map(|cell| cell.text.chars().count()).max() {
            None | Some(0) => 0,
            Some(widest) => widest.max(name.chars().count()),
        }
    }

    fn line(&self, cells: &[Cell], widths: &[usize], colour: Colour) -> String {
        let mut line = String::new();
        let mut owed = 0;
        for ((Cell { text, tone }, width), (_, side)) in cells.iter().zip(widths).zip(&self.columns) {
            if *width == 0 {
                continue;
            }
            let room = width.saturating_sub(text.chars().count());
            let (before, after) = if *side == Side::Right { (room, 0) } else { (0, room) };
            // spaces are owed until something follows them: no line ends in one
            owed += 2 + before;
            if !text.is_empty() {
                line.push_str(&" ".repeat(owed));
                line.push_str(&colour.paint(*tone, text));
                owed = 0;
            }
            owed += after;
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_empty_ones_go() {
        let mut table =
            Table::new(&[("name", Side::Left), ("gone", Side::Left), ("n", Side::Right), ("z", Side::Left)]);
        table.row([cell("a"), cell(""), cell(7), cell("")], None);
        table.row([cell("bcdef"), cell(""), cell(1234), cell("end")], Some(cell("why")));
        let lines = ["  NAME      N  Z", "  a         7", "  bcdef  1234  end", "      why", ""];
        assert_eq!(table.render(Colour::Plain), lines.join("\n"));
    }

    #[test]
    fn plain_text_has_no_escapes() {
        assert_eq!(Colour::Plain.paint(Tone::Shout, "x"), "x");
        assert!(Colour::Ansi.paint(Tone::Red, "x").starts_with("\u{1b}["));
    }
}
