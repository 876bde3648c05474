//! The 8-bit network's hottest loops as a WebAssembly module with 128-bit vectors: the same bytes for every network, as
//! all geometry is arguments. Under 4 kB, so that browsers let a page compile it at once.
//!
//! `fast.js` lays out the memory that the functions work in and says in which order the weights lie.

use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    InstructionSink, MemArg, MemArgTarget, MemoryType, Module, TypeSection, ValType,
};

/// The module.
pub(super) fn vectors() -> Vec<u8> {
    let functions = [
        ("widen", 6, widen()),
        ("dense", 11, dense()),
        ("depthwise", 10, depthwise()),
        ("settle", 12, settle()),
        ("look", 3, look()),
    ];
    let (mut types, mut imports, mut declared) = (TypeSection::new(), ImportSection::new(), FunctionSection::new());
    let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
    let memory = MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("kindling", "memory", EntityType::Memory(memory));
    for (index, (name, arguments, function)) in (0u32..).zip(functions) {
        types.ty().function(vec![ValType::I32; arguments], []);
        declared.function(index);
        exports.export(name, ExportKind::Func, index);
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&declared).section(&exports).section(&code);
    module.finish()
}

/// An address with an offset; nothing is promised of its alignment.
fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, target: MemArgTarget::Memory(0), ordering: None }
}

/// `local += number`.
fn step(code: &mut InstructionSink<'_>, local: u32, number: i32) {
    code.local_get(local).i32_const(number).i32_add().local_set(local);
}

/// `local += other`.
fn add(code: &mut InstructionSink<'_>, local: u32, other: u32) {
    code.local_get(local).local_get(other).i32_add().local_set(local);
}

/// `to = from`.
fn copy(code: &mut InstructionSink<'_>, to: u32, from: u32) {
    code.local_get(from).local_set(to);
}

/// Repeats `body` as often as `count` says, which must be at least once; `count` ends at 0.
fn repeat(code: &mut InstructionSink<'_>, count: u32, body: impl FnOnce(&mut InstructionSink<'_>)) {
    code.loop_(BlockType::Empty);
    body(code);
    code.local_get(count).i32_const(1).i32_sub().local_tee(count).br_if(0).end();
}

/// As [`repeat`], also no times.
fn repeat_if_any(code: &mut InstructionSink<'_>, count: u32, body: impl FnOnce(&mut InstructionSink<'_>)) {
    code.local_get(count).if_(BlockType::Empty);
    repeat(code, count, body);
    code.end();
}

/// `widen(x, to, zero, rows, length, line)`: rows of codes less their zero, in 16 bits, `line` bytes from row to row.
fn widen() -> Function {
    let [x, to, zero, rows, length, line, place, count] = [0, 1, 2, 3, 4, 5, 6, 7];
    let zeros = 8;
    let mut function = Function::new([(2, ValType::I32), (1, ValType::V128)]);
    let mut code = function.instructions();
    code.local_get(zero).i16x8_splat().local_set(zeros);
    repeat(&mut code, rows, |code| {
        copy(code, place, to);
        code.local_get(length).i32_const(3).i32_shr_u().local_set(count);
        repeat_if_any(code, count, |code| {
            code.local_get(place);
            code.local_get(x).v128_load8x8_s(at(0)).local_get(zeros).i16x8_sub().v128_store(at(0));
            step(code, x, 8);
            step(code, place, 16);
        });
        code.local_get(length).i32_const(7).i32_and().local_set(count);
        repeat_if_any(code, count, |code| {
            code.local_get(place);
            code.local_get(x).i32_load8_s(at(0)).local_get(zero).i32_sub().i32_store16(at(0));
            step(code, x, 1);
            step(code, place, 2);
        });
        add(code, to, line);
    });
    code.end();
    function
}

/// `dense(x, weights, bias, sums, bases, fours, eights, runs, pairs, skip, stride)`: sums of four places by eight
/// output channels at a time; `skip` bytes lie between a run and the next, `stride` between the sums of two places.
fn dense() -> Function {
    let [x, weights, bias, sums, bases, fours, eights, runs, pairs, skip, stride] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    let [weight, out, base, four, left_runs, left_pairs] = [11, 12, 13, 14, 15, 16];
    let places = [17, 18, 19, 20];
    let [value, low, high] = [21, 22, 23];
    let (lows, highs) = ([24, 25, 26, 27], [28, 29, 30, 31]);
    let mut function = Function::new([(10, ValType::I32), (11, ValType::V128)]);
    let mut code = function.instructions();
    repeat(&mut code, eights, |code| {
        copy(code, out, sums);
        copy(code, base, bases);
        copy(code, four, fours);
        repeat(code, four, |code| {
            for (i, place) in (0..).zip(places) {
                code.local_get(x).local_get(base).i32_load(at(4 * i)).i32_add().local_set(place);
                code.local_get(bias).v128_load(at(0)).local_set(lows[i as usize]);
                code.local_get(bias).v128_load(at(16)).local_set(highs[i as usize]);
            }
            copy(code, weight, weights);
            copy(code, left_runs, runs);
            repeat(code, left_runs, |code| {
                copy(code, left_pairs, pairs);
                repeat(code, left_pairs, |code| {
                    code.local_get(weight).v128_load(at(0)).local_set(low);
                    code.local_get(weight).v128_load(at(16)).local_set(high);
                    step(code, weight, 32);
                    for (i, place) in places.into_iter().enumerate() {
                        code.local_get(place).v128_load32_splat(at(0)).local_set(value);
                        for (sum, with) in [(lows[i], low), (highs[i], high)] {
                            code.local_get(value).local_get(with).i32x4_dot_i16x8_s();
                            code.local_get(sum).i32x4_add().local_set(sum);
                        }
                        step(code, place, 4);
                    }
                });
                for place in places {
                    add(code, place, skip);
                }
            });
            for (low, high) in lows.into_iter().zip(highs) {
                code.local_get(out).local_get(low).v128_store(at(0));
                code.local_get(out).local_get(high).v128_store(at(16));
                add(code, out, stride);
            }
            step(code, base, 16);
        });
        copy(code, weights, weight);
        step(code, bias, 32);
        step(code, sums, 32);
    });
    code.end();
    function
}

/// `depthwise(x, weights, bias, sums, bases, places, eights, taps, starts, stride)`: sums of eight channels at a time.
fn depthwise() -> Function {
    let [x, weights, bias, sums, bases, places, eights, taps, starts, stride] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let [weight, out, base, left_places, left_taps, place, start] = [10, 11, 12, 13, 14, 15, 16];
    let [low, high, value, with, first_low, first_high] = [17, 18, 19, 20, 21, 22];
    let mut function = Function::new([(7, ValType::I32), (6, ValType::V128)]);
    let mut code = function.instructions();
    repeat(&mut code, eights, |code| {
        code.local_get(bias).v128_load(at(0)).local_set(first_low);
        code.local_get(bias).v128_load(at(16)).local_set(first_high);
        copy(code, out, sums);
        copy(code, base, bases);
        copy(code, left_places, places);
        repeat(code, left_places, |code| {
            code.local_get(x).local_get(base).i32_load(at(0)).i32_add().local_set(place);
            copy(code, low, first_low);
            copy(code, high, first_high);
            copy(code, weight, weights);
            copy(code, start, starts);
            copy(code, left_taps, taps);
            repeat(code, left_taps, |code| {
                code.local_get(place).local_get(start).i32_load(at(0)).i32_add().v128_load(at(0)).local_set(value);
                code.local_get(weight).v128_load(at(0)).local_set(with);
                code.local_get(value).local_get(with).i32x4_extmul_low_i16x8_s();
                code.local_get(low).i32x4_add().local_set(low);
                code.local_get(value).local_get(with).i32x4_extmul_high_i16x8_s();
                code.local_get(high).i32x4_add().local_set(high);
                step(code, weight, 16);
                step(code, start, 4);
            });
            code.local_get(out).local_get(low).v128_store(at(0));
            code.local_get(out).local_get(high).v128_store(at(16));
            add(code, out, stride);
            step(code, base, 4);
        });
        copy(code, weights, weight);
        step(code, bias, 32);
        step(code, sums, 32);
        step(code, x, 16);
    });
    code.end();
    function
}

/// `settle(sums, y, places, fours, rest, scales, values, shifts, zero, low, high, stride)`: from sums to codes within
/// limits. Four channels at a time as `times` in `int8.js` does it, where `scales` lie as four numbers of each kind;
/// `values` and `shifts` are those of the `rest`, at most three, so that nothing beyond a layer's place is written.
fn settle() -> Function {
    let [sums, y, places, fours, rest, scales, values, shifts] = [0, 1, 2, 3, 4, 5, 6, 7];
    let [zero, low, high, stride] = [8, 9, 10, 11];
    let [sum, scale, value, shift_at, left] = [12, 13, 14, 15, 16];
    let [shift, wide] = [17, 18];
    let [four, zeros, lows, highs, reals] = [19, 20, 21, 22, 23];
    let mut function = Function::new([(5, ValType::I32), (2, ValType::I64), (5, ValType::V128)]);
    let mut code = function.instructions();
    code.local_get(zero).i16x8_splat().local_set(zeros);
    code.local_get(low).i8x16_splat().local_set(lows);
    code.local_get(high).i8x16_splat().local_set(highs);
    repeat(&mut code, places, |code| {
        copy(code, sum, sums);
        copy(code, scale, scales);
        copy(code, left, fours);
        repeat_if_any(code, left, |code| {
            code.local_get(sum).v128_load(at(0)).local_set(four);
            code.local_get(y);
            for half in 0..2 {
                code.local_get(four);
                if half == 1 {
                    code.local_get(four).i8x16_shuffle([8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0]);
                }
                code.f64x2_convert_low_i32x4_s().local_set(reals);
                let from = 16 * half;
                code.local_get(reals).local_get(scale).v128_load(at(from)).f64x2_mul();
                code.local_get(scale).v128_load(at(64 + from)).f64x2_add();
                code.local_get(reals).local_get(scale).v128_load(at(32 + from)).f64x2_mul().f64x2_floor().f64x2_add();
                code.local_get(scale).v128_load(at(96 + from)).f64x2_mul().f64x2_floor();
                code.i32x4_trunc_sat_f64x2_s_zero();
            }
            code.i8x16_shuffle([0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
            code.local_get(zeros).i16x8_narrow_i32x4_s().local_get(zeros).i16x8_add_sat_s();
            code.local_get(zeros).i8x16_narrow_i16x8_s();
            code.local_get(lows).i8x16_max_s().local_get(highs).i8x16_min_s().v128_store32_lane(at(0), 0);
            step(code, sum, 16);
            step(code, scale, 128);
            step(code, y, 4);
        });
        copy(code, value, values);
        copy(code, shift_at, shifts);
        copy(code, left, rest);
        repeat_if_any(code, left, |code| {
            code.local_get(shift_at).i64_load32_u(at(0)).local_set(shift);
            code.local_get(sum).i64_load32_s(at(0)).local_get(value).i64_load32_s(at(0)).i64_mul();
            code.i64_const(1).local_get(shift).i64_const(1).i64_sub().i64_shl().i64_add();
            code.local_get(shift).i64_shr_s().local_get(zero).i64_extend_i32_s().i64_add().local_set(wide);
            for (end, greater) in [(low, true), (high, false)] {
                code.local_get(wide).local_get(end).i64_extend_i32_s();
                code.local_get(wide).local_get(end).i64_extend_i32_s();
                if greater {
                    code.i64_gt_s()
                } else {
                    code.i64_lt_s()
                };
                code.select().local_set(wide);
            }
            code.local_get(y).local_get(wide).i64_store8(at(0));
            for (local, bytes) in [(sum, 4), (value, 4), (shift_at, 4), (y, 1)] {
                step(code, local, bytes);
            }
        });
        add(code, sums, stride);
    });
    code.end();
    function
}

/// `look(y, count, table)`: each code's number in the table; `table` is the place of that of code 0.
fn look() -> Function {
    let [y, count, table] = [0, 1, 2];
    let mut function = Function::new([]);
    let mut code = function.instructions();
    repeat(&mut code, count, |code| {
        code.local_get(y);
        code.local_get(table).local_get(y).i32_load8_s(at(0)).i32_add().i32_load8_s(at(0)).i32_store8(at(0));
        step(code, y, 1);
    });
    code.end();
    function
}
