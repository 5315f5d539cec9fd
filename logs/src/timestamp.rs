//! RFC 3339 with nanoseconds in UTC, `2026-11-25T00:21:12.123456789Z`, made without allocation and with the part
//! down to the second kept from call to call.
//!
//! Owns: the text. Never: looks at a clock.

/// Length of a stamp in bytes; always the same for the years 0 to 9999, which `i64` nanoseconds cannot leave.
pub const STAMP_LEN: usize = 30;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Makes stamps.
#[derive(Debug, Clone)]
pub struct Stamper {
    second: i64,
    text: [u8; STAMP_LEN],
}

impl Default for Stamper {
    fn default() -> Self {
        let mut stamper = Self { second: 0, text: *b"0000-00-00T00:00:00.000000000Z" };
        stamper.set_second(0);
        stamper
    }
}

impl Stamper {
    /// The text of a moment given in nanoseconds since the epoch.
    pub fn at(&mut self, nanos: i64) -> &[u8; STAMP_LEN] {
        let second = nanos.div_euclid(NANOS_PER_SECOND);
        if second != self.second {
            self.set_second(second);
        }
        digits(&mut self.text[20..29], nanos.rem_euclid(NANOS_PER_SECOND));
        &self.text
    }

    fn set_second(&mut self, second: i64) {
        self.second = second;
        let (year, month, day) = civil(second.div_euclid(SECONDS_PER_DAY));
        let of_day = second.rem_euclid(SECONDS_PER_DAY);
        digits(&mut self.text[0..4], year);
        digits(&mut self.text[5..7], month);
        digits(&mut self.text[8..10], day);
        digits(&mut self.text[11..13], of_day / 3600);
        digits(&mut self.text[14..16], of_day / 60 % 60);
        digits(&mut self.text[17..19], of_day % 60);
    }
}

/// Year, month and day of a count of days since 1970-01-01 in the Gregorian calendar. Years are counted from March,
/// so that the leap day is a year's last.
fn civil(days: i64) -> (i64, i64, i64) {
    // Days since 0000-03-01.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The value in decimal, right-aligned, zeroes in front.
fn digits(into: &mut [u8], mut value: i64) {
    for place in into.iter_mut().rev() {
        *place = b'0' + u8::try_from(value.rem_euclid(10)).expect("a remainder of ten fits");
        value = value.div_euclid(10);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Stamper, civil};

    fn text(nanos: i64) -> String {
        String::from_utf8(Stamper::default().at(nanos).to_vec()).unwrap()
    }

    #[test]
    fn known_moments() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(text(1_709_251_199_999_999_999), "2024-02-29T23:59:59.999999999Z");
        assert_eq!(text(1_795_566_072_123_456_789), "2026-11-25T00:21:12.123456789Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(i64::MAX), "2262-04-11T23:47:16.854775807Z");
    }

    /// Counts day by day instead of by formula.
    #[test]
    fn every_day_of_six_centuries() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for count in 0..600 * 366 {
            assert_eq!(civil(count), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }

    proptest! {
        #[test]
        fn the_kept_second_never_shows(moments in prop::collection::vec(any::<i64>(), 1..20)) {
            let mut kept = Stamper::default();
            for nanos in moments {
                prop_assert_eq!(kept.at(nanos).to_vec(), text(nanos).into_bytes());
            }
        }
    }
}
