//! The bytes of many images of one size: in memory up to a limit, beyond it in a temporary file.

use super::Loading;
use super::spool::Spool;
use crate::augment::ops::resized_crop;
use crate::error::{Error, Result};
use std::cell::Cell;
use std::sync::Arc;

/// Bytes of images that are written to the temporary file, or kept in one piece of memory.
const BLOCK_BYTES: usize = 4 << 20;

/// The bytes of images, each of `image_len`; cheap to clone and to choose from.
#[derive(Clone, Debug)]
pub struct Pixels {
    store: Arc<Store>,
    image_len: usize,
    /// Which images of the store these are; absent: all.
    rows: Option<Arc<[u32]>>,
}

#[derive(Debug)]
enum Store {
    /// Blocks of whole images, all but the last equally long.
    Memory(Vec<Vec<u8>>),
    Disk(Spool),
}

impl Pixels {
    /// Images that are in memory, one after the other.
    ///
    /// # Panics
    /// If `bytes` are not whole images of `image_len`.
    #[track_caller]
    pub fn from_vec(bytes: Vec<u8>, image_len: usize) -> Pixels {
        assert!(
            image_len > 0 && bytes.len() % image_len == 0,
            "Pixels::from_vec: {} bytes are not images of {image_len}",
            bytes.len()
        );
        Pixels { store: Arc::new(Store::Memory(vec![bytes])), image_len, rows: None }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        match (&self.rows, &*self.store) {
            (Some(rows), _) => rows.len(),
            (None, Store::Memory(blocks)) => {
                blocks.iter().map(Vec::len).sum::<usize>() / self.image_len
            }
            (None, Store::Disk(spool)) => (spool.len() / self.image_len as u64) as usize,
        }
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the images are in a temporary file, not in memory.
    pub fn on_disk(&self) -> bool {
        matches!(*self.store, Store::Disk(_))
    }

    /// The images `indices`, one after the other.
    ///
    /// # Errors
    /// `Io` if the temporary file cannot be read.
    ///
    /// # Panics
    /// If an index is not below the number of images.
    #[track_caller]
    pub fn read(&self, indices: &[usize]) -> Result<Vec<u8>> {
        self.check("Pixels::read", indices);
        let len = self.image_len;
        let mut out = vec![0; indices.len() * len];
        for (&index, out) in indices.iter().zip(out.chunks_exact_mut(len)) {
            let row = self.rows.as_ref().map_or(index, |rows| rows[index] as usize);
            match &*self.store {
                Store::Memory(blocks) => {
                    let in_block = (blocks[0].len() / len).max(1);
                    let block = &blocks[row / in_block];
                    out.copy_from_slice(&block[row % in_block * len..][..len]);
                }
                Store::Disk(spool) => {
                    let read = spool.read_at(row as u64 * len as u64, out);
                    read.map_err(|error| Error::io(spool.path(), error))?;
                }
            }
        }
        Ok(out)
    }

    /// The images `indices`, in that order; no bytes are copied.
    ///
    /// # Panics
    /// If an index is not below the number of images.
    #[track_caller]
    pub fn subset(&self, indices: &[usize]) -> Pixels {
        self.check("Pixels::subset", indices);
        let row = |&index: &usize| self.rows.as_ref().map_or(index as u32, |rows| rows[index]);
        Pixels { rows: Some(indices.iter().map(row).collect()), ..self.clone() }
    }

    /// Refuses indices of images that are not there.
    #[track_caller]
    pub(super) fn check(&self, op: &str, indices: &[usize]) {
        let len = self.len();
        for &index in indices {
            assert!(index < len, "{op}: image {index} of {len}");
        }
    }
}

/// Memory that the parts of a data set share: what is left of a limit.
#[derive(Debug)]
pub struct Budget(Cell<u64>);

impl Budget {
    /// All of `bytes` is left.
    pub fn new(bytes: u64) -> Budget {
        Budget(Cell::new(bytes))
    }

    fn take(&self, bytes: u64) -> bool {
        let enough = self.0.get() >= bytes;
        if enough {
            self.0.set(self.0.get() - bytes);
        }
        enough
    }

    fn give(&self, bytes: u64) {
        self.0.set(self.0.get() + bytes);
    }
}

/// Takes the images of a part one at a time, fitted to the size that was asked for.
#[derive(Debug)]
pub struct Collector<'a> {
    loading: &'a Loading,
    budget: &'a Budget,
    /// `[H, W, C]`, from the first image.
    size: Option<[usize; 3]>,
    blocks: Vec<Vec<u8>>,
    spool: Option<Spool>,
    count: usize,
}

impl<'a> Collector<'a> {
    /// No images yet; their memory comes out of `budget`.
    pub fn new(loading: &'a Loading, budget: &'a Budget) -> Collector<'a> {
        Collector { loading, budget, size: None, blocks: Vec::new(), spool: None, count: 0 }
    }

    /// Number of images so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no images yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `[H, W, C]` of the images, once there is one.
    pub fn size(&self) -> Option<[usize; 3]> {
        self.size
    }

    /// Adds an image `[h, w, c]`, resized if the loading says so.
    ///
    /// # Errors
    /// `Io` if the temporary file cannot be written.
    ///
    /// # Panics
    /// If the bytes are not those of one image of the size, or if its size after that is not the
    /// first one's: a reader of files of unknown sizes asks [`Collector::size`] first.
    #[track_caller]
    pub fn push(&mut self, image: &[u8], size: [usize; 3]) -> Result<()> {
        let (bytes, len) = (image.len(), size.iter().product::<usize>());
        assert!(len > 0 && bytes == len, "Collector::push: {bytes} bytes are no image of {size:?}");
        match self.loading.fits(size) {
            true => self.add(image, size),
            false => {
                let picture = Picture { bytes: image.to_vec(), size };
                let fitted = self.loading.fit(picture);
                self.add(&fitted.bytes, fitted.size)
            }
        }
    }

    #[track_caller]
    fn add(&mut self, image: &[u8], size: [usize; 3]) -> Result<()> {
        let own = *self.size.get_or_insert(size);
        assert!(own == size, "Collector::push: an image of {size:?} after those of {own:?}");
        let in_block = (BLOCK_BYTES / image.len()).max(1) * image.len();
        if self.blocks.last().is_none_or(|block| block.len() == in_block) {
            if self.spool.is_none() && self.budget.take(in_block as u64) {
                self.blocks.push(Vec::with_capacity(in_block));
            } else {
                self.spill()?;
                self.blocks = vec![Vec::with_capacity(in_block)];
            }
        }
        self.blocks.last_mut().expect("made above").extend_from_slice(image);
        self.count += 1;
        Ok(())
    }

    /// Moves what is in memory to the temporary file, and gives its memory back.
    fn spill(&mut self) -> Result<()> {
        let was_counted = self.spool.is_none();
        if self.spool.is_none() {
            self.spool = Some(Spool::create()?);
        }
        let spool = self.spool.as_mut().expect("made above");
        for block in self.blocks.drain(..) {
            spool.append(&block)?;
            if was_counted {
                self.budget.give(block.capacity() as u64);
            }
        }
        Ok(())
    }

    /// All of them, with their `[H, W, C]`.
    ///
    /// # Errors
    /// `Io` if the temporary file cannot be written.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn finish(mut self) -> Result<(Pixels, [usize; 3])> {
        let Some(size) = self.size else { panic!("Collector::finish: no images") };
        if self.spool.is_some() {
            self.spill()?;
        }
        let store = match self.spool {
            Some(spool) => Store::Disk(spool),
            None => Store::Memory(self.blocks),
        };
        let image_len = size.iter().product();
        Ok((Pixels { store: Arc::new(store), image_len, rows: None }, size))
    }
}

/// An image as bytes, `[H, W, C]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) bytes: Vec<u8>,
    pub(super) size: [usize; 3],
}

impl Loading {
    /// Whether an image of this size is taken as it is.
    pub(super) fn fits(&self, [h, w, _]: [usize; 3]) -> bool {
        self.size.is_none_or(|side| [h, w] == [side, side])
    }

    /// The image in the size that was asked for: its largest central square, resized.
    pub(super) fn fit(&self, picture: Picture) -> Picture {
        let (Some(side), [h, w, c]) = (self.size, picture.size) else { return picture };
        if self.fits(picture.size) {
            return picture;
        }
        let square = h.min(w);
        let values: Vec<f32> = picture.bytes.into_iter().map(f32::from).collect();
        let (top, left) = ((h - square) / 2, (w - square) / 2);
        let fitted = resized_crop(&values, h, w, c, top, left, square, square, side, side);
        let bytes = fitted.into_iter().map(|x| x.round() as u8).collect();
        Picture { bytes, size: [side, side, c] }
    }
}
