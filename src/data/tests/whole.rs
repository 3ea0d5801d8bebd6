//! Images that are cut off: none is taken, wherever another image's end stands.

use super::*;
use crate::data::decode::decode;
use crate::data::whole::{is_whole_jpeg, is_whole_png};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/data");

fn jpeg(side: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([(x * 16 % 256) as u8, (y * 16 % 256) as u8, (x * y % 256) as u8])
    });
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, image::ImageFormat::Jpeg).unwrap();
    file.into_inner()
}

/// A segment with its marker and length.
fn segment(marker: u8, contents: &[u8]) -> Vec<u8> {
    let len = (contents.len() as u16 + 2).to_be_bytes();
    [&[0xff, marker], &len[..], contents].concat()
}

#[test]
fn a_jpeg_ends_at_its_own_mark_whatever_its_segments_hold() {
    let (body, thumbnail) = (jpeg(24), jpeg(8));
    assert!(is_whole_jpeg(&body));
    let held = [b"Exif\0\0II*\0", &thumbnail[..], b"\xff\xd9\xff\xd9"].concat();
    let photoshop = [b"Photoshop 3.0\08BIM\x04\x0c", &thumbnail[..]].concat();
    let maker = [b"Exif\0\0MM\0*Nikon\0\x02", &thumbnail[..], &thumbnail].concat();
    // Each application segment, comments, quantisation tables behind which bytes are lost.
    let segments: Vec<Vec<u8>> = (0xe0..=0xef)
        .chain([0xfe])
        .map(|marker| segment(marker, &held))
        .chain([segment(0xed, &photoshop), segment(0xe1, &maker)])
        .chain([[segment(0xe1, &maker), segment(0xe1, &maker), segment(0xed, &held)].concat()])
        .chain([[&[0xff, 0xff, 0xff], &segment(0xfe, &held)[1..]].concat()])
        .collect();
    for segment in segments {
        let whole = [&body[..2], &segment, &body[2..]].concat();
        assert!(is_whole_jpeg(&whole), "marker {:x}", segment[1]);
        let pixels = decode(&whole).unwrap();
        assert_eq!(pixels, decode(&body).unwrap());
        for len in 0..whole.len() {
            assert!(!is_whole_jpeg(&whole[..len]), "marker {:x}, cut at {len}", segment[1]);
        }
        let [expected, found] = decode(&whole[..whole.len() - body.len() / 2]).unwrap_err();
        assert!(expected.contains("the end of a JPEG image"), "{expected}, {found}");
        // What follows the end is no part of the image.
        for after in [&b"\0"[..], b"trailing bytes", b"\xff\xd8\xff", &thumbnail[..40]] {
            assert_eq!(decode(&[&whole, after].concat()).unwrap(), pixels);
        }
    }
}

#[test]
fn no_part_of_an_image_is_whole() {
    let mut count = [0, 0];
    for class in ["folder/cats", "folder/dogs"] {
        for entry in fs::read_dir(Path::new(FIXTURES).join(class)).unwrap() {
            let path = entry.unwrap().path();
            let file = fs::read(&path).unwrap();
            let is_jpeg = file.starts_with(b"\xff\xd8");
            let is_whole = if is_jpeg { is_whole_jpeg } else { is_whole_png };
            assert!(is_whole(&file), "{}", path.display());
            for len in 0..file.len() {
                assert!(!is_whole(&file[..len]), "{}, cut at {len}", path.display());
            }
            count[usize::from(is_jpeg)] += 1;
        }
    }
    assert!(count[0] >= 2 && count[1] >= 2, "{count:?} images of each kind");
    // A PNG without its last chunk has all of its pixels.
    let png = picture(4, 6, 9);
    assert!(decode(&png[..png.len() - 12]).is_err() && decode(&png[..png.len() - 1]).is_err());
    assert!(decode(&[&png[..], b"trailing"].concat()).is_ok());
}

#[test]
fn restarts_and_stuffed_bytes_are_data_of_a_scan() {
    let head = [&[0xff, 0xd8][..], &segment(0xda, &[1, 1, 0, 0, 63, 0])].concat();
    let scan = [0x12, 0xff, 0x00, 0xd9, 0xff, 0xd0, 0xff, 0xff, 0xd7, 0x34];
    assert!(!is_whole_jpeg(&[&head[..], &scan].concat()));
    assert!(is_whole_jpeg(&[&head[..], &scan, &[0xff, 0xd9]].concat()));
    // A second scan, as progressive images have: its table may hold the bytes of an end.
    let second = [segment(0xc4, b"\x00\xff\xd9"), segment(0xda, &[1, 1, 0, 0, 63, 0])].concat();
    assert!(!is_whole_jpeg(&[&head[..], &scan, &second, &scan].concat()));
    assert!(is_whole_jpeg(&[&head[..], &scan, &second, &scan, &[0xff, 0xd9]].concat()));
}
