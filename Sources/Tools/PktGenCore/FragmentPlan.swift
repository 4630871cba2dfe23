/// Splits packets into slots.
package struct FragmentPlan: Hashable, Sendable {
  /// Number of slots of the largest packet.
  package let count: Int
  /// Bytes in each slot except the last.
  package let size: Int

  /// - Parameters:
  ///   - length: Bytes of the largest packet, with its virtio header.
  ///   - wanted: The number of slots that the user wants (`-F`).
  ///   - limit: Maximum number of bytes in a slot (`-M`); nil for the size of a buffer.
  ///   - bufferSize: Bytes in a buffer.
  package init(length: Int, wanted: Int, limit: Int?, bufferSize: Int) {
    let most = min(max(limit ?? bufferSize, 1), bufferSize)
    let slots = min(max(wanted, 1), length)
    let even = length / slots
    // The remainder of the division goes into the last slot, if it fits there.
    if even <= most, length - even * (slots - 1) <= bufferSize {
      (count, size) = (slots, even)
    } else {
      let part = min(even, most)
      (count, size) = ((length + part - 1) / part, part)
    }
  }
}
