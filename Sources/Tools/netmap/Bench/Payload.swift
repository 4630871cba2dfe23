internal import Netmap

/// What the two ends of a measured pipe do with each packet.
///
/// A type for each choice, so that the compiler makes a loop for each and nothing is decided packet by
/// packet.
protocol Payload {
  init()

  /// Writes one packet.
  ///
  /// - Parameters:
  ///   - sequence: The number of the packet, from 0.
  ///   - bytes: The packet, ``testFrameBytes`` long.
  static func write(_ sequence: UInt64, to bytes: inout MutableRawSpan)

  /// Looks at a received packet as far as this payload asks for it.
  mutating func take(_ packet: borrowing Packet, _ sequence: UInt64)

  /// What the receiver got out of its packets; using it keeps the reading from being optimised away.
  var digest: UInt64 { get }

  /// The first packet that was not the expected one; nil when all were.
  var firstMismatch: UInt64? { get }
}

/// Bytes of a frame: the smallest Ethernet allows, without the checksum.
let testFrameBytes = 60

/// Only the slot's length is written and read.
struct UntouchedPayload: Payload {
  private(set) var digest: UInt64 = 0
  var firstMismatch: UInt64? { nil }

  @inline(__always)
  static func write(_ sequence: UInt64, to bytes: inout MutableRawSpan) {}

  @inline(__always)
  mutating func take(_ packet: borrowing Packet, _ sequence: UInt64) {
    digest &+= UInt64(packet.slot.length)
  }
}

/// All 60 bytes are written by the sender, and summed up by the receiver.
struct TouchedPayload: Payload {
  private(set) var digest: UInt64 = 0
  var firstMismatch: UInt64? { nil }

  @inline(__always)
  static func write(_ sequence: UInt64, to bytes: inout MutableRawSpan) {
    for word in 0..<7 {
      bytes.storeBytes(of: sequence &+ UInt64(word), toByteOffset: word &* 8, as: UInt64.self)
    }
    bytes.storeBytes(of: UInt32(truncatingIfNeeded: sequence), toByteOffset: 56, as: UInt32.self)
  }

  @inline(__always)
  mutating func take(_ packet: borrowing Packet, _ sequence: UInt64) {
    let bytes = packet.bytes
    guard bytes.byteCount == testFrameBytes else { return }
    var sum: UInt64 = 0
    for word in 0..<7 {
      sum &+= unsafe bytes.unsafeLoad(fromByteOffset: word &* 8, as: UInt64.self)
    }
    sum &+= UInt64(unsafe bytes.unsafeLoad(fromByteOffset: 56, as: UInt32.self))
    digest &+= sum
  }
}

/// The sender numbers the packets, and the receiver checks the numbers: none missing, none twice, all
/// in order.
struct VerifiedPayload: Payload {
  private(set) var digest: UInt64 = 0
  private(set) var firstMismatch: UInt64?

  @inline(__always)
  static func write(_ sequence: UInt64, to bytes: inout MutableRawSpan) {
    bytes.storeBytes(of: sequence, toByteOffset: 0, as: UInt64.self)
  }

  @inline(__always)
  mutating func take(_ packet: borrowing Packet, _ sequence: UInt64) {
    let bytes = packet.bytes
    guard bytes.byteCount == testFrameBytes,
      unsafe bytes.unsafeLoad(fromByteOffset: 0, as: UInt64.self) == sequence
    else {
      if firstMismatch == nil { firstMismatch = sequence }
      return
    }
    digest &+= 1
  }
}
