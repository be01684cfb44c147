//! What wasm operators cost: the weights that the IC's execution layer publishes, as the runtime's fuel table.
//!
//! The table holds at most 255 per operator, so `memory.grow`, `data.drop` and `elem.drop`, which cost 300 on
//! the IC, cost 255 here. Bulk operations additionally cost one instruction per byte, as on the IC. Operators
//! that are not listed cost 1; operators that change a table never occur, since `validation.rs` refuses such modules.

use wasmtime::OperatorCost;

/// Assigns each cost to the operators of its list.
macro_rules! weights {
    ($table:ident: $($cost:literal => [$($operator:ident),* $(,)?],)*) => {
        $($( $table.$operator = $cost; )*)*
    };
}

/// Returns the weights for modules with a 64-bit memory, where loads and stores cost 2, or with a 32-bit one.
pub(super) fn operator_costs(memory64: bool) -> OperatorCost {
    let mut table = OperatorCost::new();
    if memory64 {
        weights! { table:
            2 => [
                I32Load, I64Load, F32Load, F64Load, I32Load8S, I32Load8U, I32Load16S, I32Load16U,
                I64Load8S, I64Load8U, I64Load16S, I64Load16U, I64Load32S, I64Load32U,
                I32Store, I64Store, F32Store, F64Store, I32Store8, I32Store16, I64Store8, I64Store16, I64Store32,
                V128Load, V128Load8x8S, V128Load8x8U, V128Load16x4S, V128Load16x4U, V128Load32x2S, V128Load32x2U,
                V128Load8Splat, V128Load16Splat, V128Load32Splat, V128Load64Splat, V128Load32Zero, V128Load64Zero,
                V128Load8Lane, V128Load16Lane, V128Load32Lane, V128Load64Lane,
                V128Store, V128Store8Lane, V128Store16Lane, V128Store32Lane, V128Store64Lane,
            ],
        }
    }
    weights! { table:
        0 => [Block, Loop, Else, End],
        1 => [Nop, Drop, Return, Unreachable],
        2 => [If, Br, BrIf, BrTable],
        5 => [Call],
        10 => [CallIndirect],
        3 => [ReturnCall],
        60 => [ReturnCallIndirect],
        10 => [I32DivS, I32DivU, I32RemS, I32RemU, I64DivS, I64DivU, I64RemS, I64RemU],
        2 => [
            F32Add, F32Sub, F32Mul, F32Ceil, F32Floor, F32Trunc, F32Nearest, F32Copysign,
            F64Add, F64Sub, F64Mul, F64Ceil, F64Floor, F64Trunc, F64Nearest,
        ],
        3 => [F32Div, F64Copysign],
        5 => [F64Div, F32Sqrt],
        8 => [F64Sqrt],
        18 => [F32Min, F32Max, F64Min, F64Max],
        3 => [
            F32Eq, F32Ne, F32Lt, F32Gt, F32Le, F32Ge, F64Eq, F64Ne, F64Lt, F64Gt, F64Le, F64Ge,
            F32ConvertI32S, F32ConvertI64S, F64ConvertI32S, F64ConvertI64S,
        ],
        16 => [F32ConvertI32U, F32ConvertI64U, F64ConvertI32U, F64ConvertI64U],
        20 => [
            I32TruncF32S, I32TruncF32U, I32TruncF64S, I32TruncF64U,
            I64TruncF32S, I64TruncF32U, I64TruncF64S, I64TruncF64U,
            I32TruncSatF32S, I32TruncSatF32U, I32TruncSatF64S, I32TruncSatF64U,
            I64TruncSatF32S, I64TruncSatF32U, I64TruncSatF64S, I64TruncSatF64U,
        ],
        2 => [GlobalGet, GlobalSet],
        5 => [TableGet, RefIsNull],
        130 => [RefFunc],
        20 => [MemorySize],
        100 => [TableSize, MemoryFill, MemoryCopy, MemoryInit],
        255 => [MemoryGrow, DataDrop, ElemDrop],
        2 => [
            I8x16LtU, I8x16GtU, I16x8LtU, I16x8GtU, I32x4LtU, I32x4GtU, I8x16ShrU,
            I16x8Shl, I16x8ShrS, I16x8ShrU, I32x4Shl, I32x4ShrS, I32x4ShrU, I64x2Shl, I64x2ShrU,
            I16x8ExtAddPairwiseI8x16U, I16x8ExtMulHighI8x16S, I16x8ExtMulHighI8x16U, I32x4Mul,
            I32x4ExtMulLowI16x8S, I32x4ExtMulHighI16x8S,
            I32x4ExtMulLowI16x8U, I32x4ExtMulHighI16x8U,
            F32x4Ceil, F32x4Floor, F32x4Trunc, F32x4Nearest, F32x4Abs, F32x4Neg,
            F32x4Add, F32x4Sub, F32x4Mul,
            F64x2Ceil, F64x2Floor, F64x2Trunc, F64x2Nearest, F64x2Abs, F64x2Neg,
            F64x2Add, F64x2Sub, F64x2Mul, I32x4TruncSatF32x4S, I32x4TruncSatF64x2SZero,
        ],
        3 => [
            I8x16Shuffle, I8x16Popcnt, I8x16Shl, I8x16ShrS, I64x2ShrS,
            I32x4ExtAddPairwiseI16x8U, I32x4TruncSatF64x2UZero,
        ],
        4 => [
            I64x2Mul, F32x4Min, F32x4Max, F64x2Min, I32x4TruncSatF32x4U, F32x4ConvertI32x4U,
        ],
        5 => [F32x4Sqrt, F64x2Max],
        10 => [F32x4Div],
        12 => [F64x2Div],
        14 => [F64x2Sqrt],
    }
    table
}
