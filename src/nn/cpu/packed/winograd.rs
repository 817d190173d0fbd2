//! A convolution of stride 1 by Winograd's transforms: fewer products, and sums before and after them.
//!
//! The output is cut into tiles; groups of tiles are worked on at the same time. A group's inputs are spread to points
//! (`transform`); each point is a product of all tiles and channels by the kernel's panels there (`product`); and as soon as
//! a panel has been multiplied at all points, its columns are gathered to outputs, while they are in cache.

use std::ops::Range;

use super::Workspace;
use super::aligned::Aligned;
use super::axis::MOST;
use super::image::{Bias, Fused, Output, View};
use super::panels::Panels;
use super::product::{Columns, Goal, Strip, rows};
use super::scheme::{LANES, Scheme};
use super::transform::{Gather, Spread};
use super::vector::Engine;
use crate::nn::cpu::kernel::{Sweep, Workers};
use crate::nn::cpu::parallel::{Shared, Threads};

/// Numbers of a group's points that should stay near: a second-level cache and a part of the third.
const GROUP: usize = 160 * 1024;
/// Tiles of a group, so that reading the panels does not tell.
const TILES: [usize; 2] = [24, 96];

/// The kernel of a convolution at the points of a scheme.
#[derive(Debug)]
pub struct Winograd<E> {
    engine: E,
    scheme: Scheme,
    /// One for each point.
    panels: Vec<Panels>,
    channels: usize,
    pub bias: Bias,
    /// What lies outside the image.
    zeros: Vec<f32>,
}

impl<E: Engine> Winograd<E> {
    /// `matrix` is `[height, width, channels, columns]`, `bias` `[columns]`.
    pub fn new(engine: E, scheme: Scheme, matrix: &[f32], bias: &[f32]) -> Self {
        let [height, width] = scheme.taps();
        let [down, across] = scheme.inputs();
        let channels = matrix.len() / (height * width * bias.len());
        let panels = || Panels::zeros(channels, bias.len(), E::COLUMNS);
        let panels: Vec<Panels> = (0..down * across).map(|_| panels()).collect();
        let zeros = vec![0.0; channels];
        let mut new = Self { engine, scheme, panels, channels, bias: Bias::new(bias, E::COLUMNS), zeros };
        new.update(matrix);
        new
    }

    /// Takes another matrix of the same shape: its values at the points, which are computed in f64.
    pub fn update(&mut self, matrix: &[f32]) {
        let [height, width] = self.scheme.taps();
        let columns = self.panels[0].columns;
        assert_eq!(matrix.len(), height * width * self.channels * columns, "a matrix of another shape");
        let axes = self.scheme.axes();
        let (mut taps, mut points) = ([[0.0; LANES]; MOST * MOST], [[0.0; LANES]; MOST * MOST]);
        let (taps, points) = (&mut taps[..height * width], &mut points[..self.panels.len()]);
        for channel in 0..self.channels {
            for from in (0..columns).step_by(LANES) {
                let lanes = LANES.min(columns - from);
                for (tap, values) in taps.iter_mut().enumerate() {
                    let start = (tap * self.channels + channel) * columns + from;
                    let numbers = matrix[start..start + lanes].iter();
                    values.iter_mut().zip(numbers).for_each(|(value, number)| *value = f64::from(*number));
                }
                axes.kernels(taps, points);
                for (panels, values) in self.panels.iter_mut().zip(&*points) {
                    let row = panels.row_mut(channel, from / E::COLUMNS);
                    let row = &mut row[from % E::COLUMNS..][..lanes];
                    row.iter_mut().zip(values).for_each(|(to, value)| *to = *value as f32);
                }
            }
        }
    }

    /// The matrix again, from its values at the points: there are more of them than taps, so that little is lost.
    pub fn matrix(&self) -> Vec<f32> {
        let [height, width] = self.scheme.taps();
        let columns = self.panels[0].columns;
        let axes = self.scheme.axes();
        let mut matrix = vec![0.0; height * width * self.channels * columns];
        let (mut taps, mut points) = ([[0.0; LANES]; MOST * MOST], [[0.0; LANES]; MOST * MOST]);
        let (taps, points) = (&mut taps[..height * width], &mut points[..self.panels.len()]);
        for channel in 0..self.channels {
            for from in (0..columns).step_by(LANES) {
                let lanes = LANES.min(columns - from);
                for (panels, values) in self.panels.iter().zip(&mut *points) {
                    let row = &panels.row(channel, from / E::COLUMNS)[from % E::COLUMNS..];
                    values.iter_mut().zip(&row[..lanes]).for_each(|(value, number)| *value = f64::from(*number));
                }
                axes.taps(points, taps);
                for (tap, values) in taps.iter().enumerate() {
                    let start = (tap * self.channels + channel) * columns + from;
                    let numbers = matrix[start..start + lanes].iter_mut();
                    numbers.zip(values).for_each(|(number, value)| *number = *value as f32);
                }
            }
        }
        matrix
    }

    /// Convolves `source`.
    pub fn run(&self, source: &View, sweep: &Sweep, output: &Output, fused: &Fused, (threads, spares): Workers<f32>) {
        assert!(sweep.stride == 1 && output.step == 1 && output.phase == [0, 0] && sweep.grid == output.size);
        assert!(sweep.kernel == self.scheme.taps() && source.channels == self.channels);
        assert_eq!(source.images, output.images);
        source.check();
        output.check(sweep, fused, self.panels[0].columns);
        let job = Job {
            source,
            sweep,
            output,
            fused,
            cut: Cut::new(sweep.grid, self.scheme.outputs(), fused.together(source.images)),
        };
        let tiles = source.images * job.cut.tiles[0] * job.cut.tiles[1];
        let (height, [outside, inside]) = self.groups(tiles, fused.together(source.images), threads);
        outside.tasks(tiles.div_ceil(height), |group| {
            let tiles = group * height..tiles.min((group + 1) * height);
            spares.with(|buffers| self.group(&job, group, tiles, &mut buffers.packed, (inside, spares)));
        });
    }

    /// Adds the pixels of each part that [`Winograd::run`] takes sums of.
    pub fn parts(&self, images: usize, sweep: &Sweep, threads: Threads, to: &mut Vec<usize>) {
        let cut = Cut::new(sweep.grid, self.scheme.outputs(), 1);
        let tiles = images * cut.tiles[0] * cut.tiles[1];
        let (height, _) = self.groups(tiles, 1, threads);
        let pixels = |tile: usize| {
            let [_, y, x] = cut.corner(tile);
            cut.size[0].min(sweep.grid[0] - y) * cut.size[1].min(sweep.grid[1] - x)
        };
        to.extend(
            (0..tiles).step_by(height).map(|first| (first..tiles.min(first + height)).map(pixels).sum::<usize>()),
        );
    }

    /// How many tiles a group has, and how many threads work on groups and inside of each; a tile of `together` images is one
    /// group's.
    fn groups(&self, tiles: usize, together: usize, threads: Threads) -> (usize, [Threads; 2]) {
        let most = (GROUP / (self.panels.len() * self.channels)).clamp(TILES[0], TILES[1]);
        let groups = tiles.div_ceil(most);
        // Few groups are worked on one after another, each by all threads.
        let (groups, threads) = if groups < threads.0 {
            (groups, [Threads(1), threads])
        } else {
            (groups.next_multiple_of(threads.0), [threads, Threads(1)])
        };
        (tiles.div_ceil(groups).next_multiple_of(together), threads)
    }

    /// Some tiles, all columns; their pixels are a `part`.
    fn group(
        &self,
        job: &Job,
        part: usize,
        tiles: Range<usize>,
        space: &mut Workspace,
        (threads, spares): Workers<f32>,
    ) {
        let row = self.channels.next_multiple_of(ROW);
        let count = tiles.len();
        let points = space.points.at_least(self.panels.len() * count * row);
        let spread = Shared::new(points, row);
        let each = count.div_ceil(threads.0);
        threads.tasks(count.div_ceil(each), |task| {
            for tile in task * each..count.min((task + 1) * each) {
                self.spread(job, tiles.start + tile, &spread, (tile, count));
            }
        });
        let points = &*points;
        let rows = rows(count, &E::ROWS);
        let Workspace { offsets, places, .. } = space;
        offsets.clear();
        offsets.extend((0..count.next_multiple_of(rows)).map(|tile| tile.min(count - 1) * row));
        places.clear();
        places.extend(0..count);
        threads.tasks(self.panels[0].count(), |panel| {
            spares.with(|buffers| {
                let Workspace { products, former, .. } = &mut buffers.packed;
                let products = products.at_least(self.panels.len() * count * E::COLUMNS);
                for (point, (panels, source)) in self.panels.iter().zip(points.chunks_exact(count * row)).enumerate() {
                    let target = Goal::Full(products[point * count * E::COLUMNS..][..count * E::COLUMNS].as_mut_ptr());
                    let (stride, count) = (E::COLUMNS, E::COLUMNS);
                    let strip = Strip {
                        panel: panels.panel(panel).as_ptr(),
                        source: source.as_ptr(),
                        zeros: self.zeros.as_ptr(),
                        offsets,
                        taps: 1,
                        words: self.channels,
                        rows,
                        places,
                        columns: Columns { target, stride, count, add: false, finish: None, past_cache: false },
                    };
                    // SAFETY: there are `count` rows of `row` numbers in the source and of a panel's in the target.
                    unsafe { self.engine.multiply(&strip) };
                }
                for tile in 0..count {
                    let products = (&products[tile * E::COLUMNS..], count * E::COLUMNS);
                    self.gather(job, (tiles.start + tile, panel), products, former, part, tile == 0);
                }
                if job.fused.past_cache {
                    self.engine.fence();
                }
            });
        });
    }

    /// Spreads one tile, the `place`-th of a group of `count`.
    fn spread(&self, job: &Job, tile: usize, points: &Shared<f32>, (place, count): (usize, usize)) {
        let [height, width] = self.scheme.inputs();
        let [image, y, x] = job.cut.corner(tile);
        let corner = [y as isize + job.sweep.origin[0], x as isize + job.sweep.origin[1]];
        let offsets = job.source.offsets(image, corner, [height, width]);
        let last = (self.panels.len() - 1) * count + place;
        points.rectangle(&(last..last + 1), &(0..self.channels.next_multiple_of(ROW)));
        let spread = Spread {
            source: job.source.data.as_ptr(),
            zeros: self.zeros.as_ptr(),
            offsets: &offsets[..height * width],
            channels: self.channels,
            points: points.start().wrapping_add(place * points.stride()),
            apart: count * points.stride(),
            group: [ROW, ROW],
        };
        // SAFETY: `run` has checked the image, the line above the points, of which this row is this tile's alone.
        unsafe { self.engine.spread(self.scheme, &spread) };
    }

    /// Gathers one panel of one tile from its products, which are `apart` numbers apart.
    fn gather(
        &self,
        job: &Job,
        (tile, panel): (usize, usize),
        (products, apart): (&[f32], usize),
        former: &mut Aligned,
        part: usize,
        first: bool,
    ) {
        let Job { output, fused, cut, .. } = job;
        let [image, y, x] = cut.corner(tile);
        assert!(products.len() >= (self.panels.len() - 1) * apart + E::COLUMNS);
        let gather = Gather {
            products: products.as_ptr(),
            apart,
            columns: output.columns(fused, (&self.bias, panel * E::COLUMNS), former, part),
            place: output.place([image, y, x]),
            line: output.size[1],
            size: [output.size[0] - y, output.size[1] - x],
            first,
        };
        // SAFETY: `run` has checked the image, the line above the products; these pixels and columns are this task's alone.
        unsafe { self.engine.gather(self.scheme, &gather) };
    }
}

/// Numbers to which a row of points is filled up: the widest vector.
const ROW: usize = 16;

/// All that a convolution is given.
struct Job<'a> {
    source: &'a View<'a>,
    sweep: &'a Sweep,
    output: &'a Output<'a>,
    fused: &'a Fused<'a>,
    cut: Cut,
}

/// How an output is cut into tiles.
pub struct Cut {
    /// Down and across in each image.
    pub tiles: [usize; 2],
    /// Height and width of a tile.
    size: [usize; 2],
    /// Images that each tile is counted in before the next one.
    together: usize,
}

impl Cut {
    pub fn new(grid: [usize; 2], size: [usize; 2], together: usize) -> Self {
        Self { tiles: [0, 1].map(|axis| grid[axis].div_ceil(size[axis])), size, together }
    }

    /// Image, row and column of a tile's first output.
    pub fn corner(&self, tile: usize) -> [usize; 3] {
        let [down, across] = self.tiles;
        let (place, image) = (tile / self.together, tile % self.together);
        let image = place / (down * across) * self.together + image;
        [image, place / across % down * self.size[0], place % across * self.size[1]]
    }
}
