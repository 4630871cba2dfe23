internal import NetmapCore

/// What netmap clears in a slot that it has taken over: `NS_BUF_CHANGED` and `NS_REPORT`.
///
/// A number: option-set algebra would cost reference counting.
@inline(__always)
var sentFlags: UInt16 {
  SlotFlags.bufferChanged.rawValue | SlotFlags.report.rawValue
}
