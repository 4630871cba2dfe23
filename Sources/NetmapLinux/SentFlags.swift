internal import NetmapCore

/// The flags that netmap clears in a slot that it has taken over: `NS_BUF_CHANGED` and `NS_REPORT`.
///
/// A plain number, because operations on the option set would cost reference counting.
@inline(__always)
var sentFlags: UInt16 {
  SlotFlags.bufferChanged.rawValue | SlotFlags.report.rawValue
}
