/// How packets are cut into slots.
package struct FragmentPlan: Hashable, Sendable {
  /// Slots of the largest packet.
  package let count: Int
  /// Bytes in each slot but the last.
  package let size: Int

  /// - Parameters:
  ///   - length: Bytes of the largest packet, with its virtio header.
  ///   - wanted: Slots wished for (`-F`).
  ///   - limit: Bytes in a slot at most (`-M`); nil for what a buffer holds.
  ///   - bufferSize: Bytes in a buffer.
  package init(length: Int, wanted: Int, limit: Int?, bufferSize: Int) {
    let most = min(max(limit ?? bufferSize, 1), bufferSize)
    let slots = min(max(wanted, 1), length)
    let even = length / slots
    // What even parts leave over goes into the last slot, if it fits there.
    if even <= most, length - even * (slots - 1) <= bufferSize {
      (count, size) = (slots, even)
    } else {
      let part = min(even, most)
      (count, size) = ((length + part - 1) / part, part)
    }
  }
}
