//! Dates for people and logs: RFC 3339, in UTC.

use std::time::Duration;

/// A date with seconds.
pub fn seconds(since_epoch: u64) -> String {
    let mut text = String::with_capacity(20);
    write(&mut text, since_epoch);
    text.push('Z');
    text
}

/// Writes dates with milliseconds. Most of them are in the second of the one before, whose text is kept.
#[derive(Debug, Default)]
pub struct Dates {
    second: u64,
    text: String,
}

impl Dates {
    /// Writes a date at the end of `to`.
    pub fn milliseconds(&mut self, since_epoch: Duration, to: &mut Vec<u8>) {
        if self.second != since_epoch.as_secs() || self.text.is_empty() {
            self.second = since_epoch.as_secs();
            self.text.clear();
            write(&mut self.text, self.second);
        }
        to.extend_from_slice(self.text.as_bytes());
        let thousandths = since_epoch.subsec_millis();
        let [hundreds, tens, ones] =
            [thousandths / 100, thousandths / 10 % 10, thousandths % 10].map(|digit| b'0' + digit as u8);
        to.extend_from_slice(&[b'.', hundreds, tens, ones, b'Z']);
    }
}

fn write(text: &mut String, since_epoch: u64) {
    let (days, of_day) = (since_epoch / 86_400, since_epoch % 86_400);
    // Days to civil date, counting years from March so that the leap day comes last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    if year >= 10_000 {
        text.push_str(&(year / 10_000).to_string());
    }
    two(text, year / 100 % 100);
    two(text, year % 100);
    for (before, part) in [('-', month), ('-', day), ('T', of_day / 3_600), (':', of_day / 60 % 60), (':', of_day % 60)]
    {
        text.push(before);
        two(text, part);
    }
}

/// A number below a hundred; a line of the access log has a date, and `fmt` takes its time.
fn two(text: &mut String, number: u64) {
    text.push(digit(number / 10));
    text.push(digit(number % 10));
}

fn digit(number: u64) -> char {
    char::from(b'0' + (number % 10) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_rfc_3339() {
        let mut dates = Dates::default();
        let mut milliseconds = |since_epoch| {
            let mut text = Vec::new();
            dates.milliseconds(since_epoch, &mut text);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(milliseconds(Duration::from_millis(951_782_399_001)), "2000-02-28T23:59:59.001Z");
        assert_eq!(milliseconds(Duration::ZERO), "1970-01-01T00:00:00.000Z");
        assert_eq!(milliseconds(Duration::from_millis(951_782_399_999)), "2000-02-28T23:59:59.999Z");
        assert_eq!(milliseconds(Duration::from_secs(951_782_400)), "2000-02-29T00:00:00.000Z");
        assert_eq!(milliseconds(Duration::from_secs(1_795_315_766)), "2026-11-22T02:49:26.000Z");
        assert_eq!(seconds(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(seconds(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!(seconds(253_402_300_800), "10000-01-01T00:00:00Z");
    }
}
