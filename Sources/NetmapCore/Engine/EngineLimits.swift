/// netmap's hard limits.
package enum EngineLimits {
  /// Pipes on one port; one more is `EINVAL`.
  package static let pipesPerPort = 64
  /// Rings of one direction of a pipe.
  package static let pipeRings = 1...256
  /// Slots of a pipe's ring.
  package static let pipeSlots = 1...4096
  /// Slots of a virtual port's ring when the request gives no number.
  package static let defaultSlots = 1024
  /// The most extra buffers for which a virtual port's region is enlarged.
  package static let extraBuffers = 524_288
  /// Length of an interface name, without its NUL.
  package static let interfaceNameLength = 15
  /// Bindings on one port at a time.
  package static let bindingsPerPort = 256

  /// Corrects a number that is out of range, as netmap does: one that is too low becomes the
  /// default, one that is too high the highest. Neither is an error.
  package static func bound(_ value: Int, default standard: Int, in range: ClosedRange<Int>) -> Int
  {
    let wanted = value < range.lowerBound ? standard : value
    return min(max(wanted, range.lowerBound), range.upperBound)
  }
}
