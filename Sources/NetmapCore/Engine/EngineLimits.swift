/// netmap's hard limits.
package enum EngineLimits {
  /// Pipes on one port; one more is `EINVAL`.
  package static let pipesPerPort = 64
  /// Rings of one direction of a pipe.
  package static let pipeRings = 1...256
  /// Slots of a pipe's ring.
  package static let pipeSlots = 1...4096
  /// Slots of a virtual port's ring where nobody says otherwise.
  package static let defaultSlots = 1024
  /// Extra buffers for which a virtual port's region is enlarged.
  package static let extraBuffers = 524_288
  /// Length of an interface name, without its NUL.
  package static let interfaceNameLength = 15
  /// Bindings on one port at a time.
  package static let bindingsPerPort = 256

  /// netmap's way with a number out of range: too low is the default, too high the highest, and
  /// never an error.
  package static func bound(_ value: Int, default standard: Int, in range: ClosedRange<Int>) -> Int
  {
    let wanted = value < range.lowerBound ? standard : value
    return min(max(wanted, range.lowerBound), range.upperBound)
  }
}
