//! Figures and tables, in Markdown.

use std::time::Duration;

/// Adds a table; its first column names the rows.
pub fn table(text: &mut Vec<String>, columns: &[String], rows: impl Iterator<Item = Vec<String>>) {
    text.push(format!("| {} |", columns.join(" | ")));
    text.push(format!("|{}", " --- |".repeat(columns.len())));
    text.extend(rows.map(|row| format!("| {} |", row.join(" | "))));
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    Some((values.get(low)? + values.get(high)?) / 2.0)
}

/// With three digits.
pub fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        ..10.0 => format!("{millis:.2}"),
        ..100.0 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

/// Rounded, with commas.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let written = [7.0, 999.6, 12_345.0, 1_234_567.0].map(thousands);
        assert_eq!(written, ["7", "1,000", "12,345", "1,234,567"]);
        let micros = [1234, 12_340, 123_400].map(|micros| millis(Duration::from_micros(micros)));
        assert_eq!(micros, ["1.23", "12.3", "123"]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }
}
