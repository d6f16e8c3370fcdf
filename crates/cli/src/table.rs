//! Listings: columns padded to their widest cell, as Docker prints them.

/// Blanks between columns.
const GAP: usize = 3;

/// Rows of text under headings.
pub struct Table {
    rows: Vec<Vec<String>>,
    least: usize,
}

impl Table {
    /// Returns a table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()], least: 0 }
    }

    /// Sets the least width of a column, the gap behind it included.
    pub fn at_least(mut self, width: usize) -> Self {
        self.least = width;
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Returns the lines, without trailing blanks.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(self.least.saturating_sub(GAP))
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + GAP));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Returns a size as people read it, in powers of 1000 as Docker prints image sizes.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes}B")
    } else if value < 9.995 {
        format!("{value:.2}{}", UNITS[unit])
    } else if value < 99.95 {
        format!("{value:.1}{}", UNITS[unit])
    } else {
        format!("{value:.0}{}", UNITS[unit])
    }
}

/// Returns a stretch of time as Docker prints it: `5 seconds`, `About a minute`, `3 hours`.
pub fn ago(seconds: i64) -> String {
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3_600 => format!("{} minutes", seconds / 60),
        3_600..7_200 => "About an hour".to_owned(),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        172_800..1_209_600 => format!("{} days", seconds / 86_400),
        1_209_600..5_184_000 => format!("{} weeks", seconds / 604_800),
        5_184_000..63_072_000 => format!("{} months", seconds / 2_592_000),
        63_072_000.. => format!("{} years", seconds / 31_536_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_to_the_widest_cell() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(vec!["database".to_owned(), "healthy".to_owned()]);
        table.row(vec!["web".to_owned(), String::new()]);
        assert_eq!(table.render(), "NAME       STATE\ndatabase   healthy\nweb\n");
    }

    #[test]
    fn sizes_have_three_digits() {
        let table =
            [(0, "0B"), (999, "999B"), (1_234, "1.23kB"), (12_345_678, "12.3MB"), (345_600_000, "346MB")];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_read_like_dockers() {
        assert_eq!(ago(5), "5 seconds");
        assert_eq!(ago(61), "About a minute");
        assert_eq!(ago(7_200), "2 hours");
    }
}
