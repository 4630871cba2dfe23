internal import Netmap

/// The work that the two ends of a measured pipe do for each packet.
///
/// Each payload is a type, so that the compiler specializes the loops and no branch per packet is left.
protocol Payload {
  init()

  /// Writes one packet.
  ///
  /// - Parameters:
  ///   - sequence: The number of the packet, from 0.
  ///   - bytes: The packet, at least ``testFrameBytes`` long.
  static func write(_ sequence: UInt64, to bytes: inout MutableRawSpan)

  /// Reads a received packet as far as the payload requires.
  mutating func take(_ packet: borrowing Packet, _ sequence: UInt64)

  /// A value computed from the packets.
  ///
  /// Its use keeps the compiler from removing the reads.
  var digest: UInt64 { get }

  /// The number of the first packet that differed from the expected one; nil if none did.
  var firstMismatch: UInt64? { get }
}

/// Bytes in a frame, unless a measurement sets others: Ethernet's minimum, without the checksum.
let testFrameBytes = 60

/// The sender writes and the receiver reads only the slot's length.
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

/// The sender writes all bytes, and the receiver sums them up.
struct TouchedPayload: Payload {
  private(set) var digest: UInt64 = 0
  var firstMismatch: UInt64? { nil }

  @inline(__always)
  static func write(_ sequence: UInt64, to bytes: inout MutableRawSpan) {
    guard bytes.byteCount == testFrameBytes else {
      return FrameBytes.write(sequence, to: &bytes, from: 0)
    }
    for word in 0..<7 {
      bytes.storeBytes(of: sequence &+ UInt64(word), toByteOffset: word &* 8, as: UInt64.self)
    }
    bytes.storeBytes(of: UInt32(truncatingIfNeeded: sequence), toByteOffset: 56, as: UInt32.self)
  }

  @inline(__always)
  mutating func take(_ packet: borrowing Packet, _ sequence: UInt64) {
    let bytes = packet.bytes
    guard bytes.byteCount == testFrameBytes else {
      digest &+= FrameBytes.sum(bytes)
      return
    }
    var sum: UInt64 = 0
    for word in 0..<7 {
      sum &+= unsafe bytes.unsafeLoad(fromByteOffset: word &* 8, as: UInt64.self)
    }
    sum &+= UInt64(unsafe bytes.unsafeLoad(fromByteOffset: 56, as: UInt32.self))
    digest &+= sum
  }
}

/// The sender numbers the packets, and the receiver checks that none is missing, duplicated or out of order.
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
    guard bytes.byteCount >= testFrameBytes,
      unsafe bytes.unsafeLoad(fromByteOffset: 0, as: UInt64.self) == sequence
    else {
      if firstMismatch == nil { firstMismatch = sequence }
      return
    }
    digest &+= 1
  }
}
