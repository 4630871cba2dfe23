/// Cuts a TCP or UDP super-packet into the packets that a wire would carry.
///
/// It reads only the packet's headers: once when it is made, and again for each segment. The memory
/// with the headers must not change in between. It trusts no header field: every offset lies within
/// the available bytes.
@usableFromInline
package struct Segmentation {
  @usableFromInline
  package enum Transport {
    case tcp, udp

    /// The protocol number in an IP header.
    @inlinable var number: UInt8 { self == .tcp ? 6 : 17 }
    /// The length of the shortest header, bytes.
    @inlinable var shortest: Int { self == .tcp ? 20 : 8 }
  }

  /// The size of segments.
  @usableFromInline
  package enum Size {
    /// Bytes of payload in each segment.
    case payload(Int)
    /// Bytes of each frame, all headers included.
    case frame(Int)
  }

  /// Offsets from the beginning of the frame: the network header, the transport header, and the
  /// payload.
  @usableFromInline let network: Int
  @usableFromInline let transport: Int
  @usableFromInline package let headerBytes: Int
  /// Bytes of payload in the frame, and in each segment but the last.
  @usableFromInline package let payloadTotal: Int
  @usableFromInline package let payloadBytes: Int
  @usableFromInline let isTCP: Bool
  @usableFromInline let isIPv4: Bool

  /// The number of segments.
  @inlinable
  package var count: Int { (payloadTotal + payloadBytes - 1) / payloadBytes }

  /// Nil when the headers are damaged or not those of TCP or UDP over IPv4 or IPv6, or when there
  /// is no payload.
  ///
  /// - Parameters:
  ///   - headers: The beginning of the frame.
  ///   - available: Bytes that may be read there; all headers must lie within them.
  ///   - total: Bytes of the frame.
  ///   - network: The offset of the IP header.
  ///   - kind: The protocol that the IP header must name.
  ///   - skipsExtensions: Whether IPv6 extension headers may precede the transport header.
  ///   - size: The size of the segments.
  @inlinable
  package init?(
    headers: UnsafeRawPointer, available: Int, total: Int, network: Int,
    transport kind: Transport, skipsExtensions: Bool, size: Size
  ) {
    func byte(_ offset: Int) -> UInt8 {
      unsafe headers.load(fromByteOffset: offset, as: UInt8.self)
    }
    guard network >= 14, network + 20 <= available else { return nil }
    self.network = network
    var transport = network
    var next: UInt8
    switch byte(network) >> 4 {
    case 4:
      isIPv4 = true
      transport += Int(byte(network) & 15) * 4
      next = byte(network + 9)
    case 6:
      guard network + 40 <= available else { return nil }
      isIPv4 = false
      transport += 40
      next = byte(network + 6)
      // Hop-by-hop options, routing headers and destination options have a length field, and may
      // come first.
      while skipsExtensions, next == 0 || next == 43 || next == 60 {
        guard transport + 8 <= available else { return nil }
        next = byte(transport)
        transport += (Int(byte(transport + 1)) + 1) * 8
      }
    default: return nil
    }
    guard next == kind.number, transport >= network + 20,
      transport + kind.shortest <= available
    else { return nil }
    self.transport = transport
    isTCP = kind == .tcp
    headerBytes = transport + (kind == .tcp ? Int(byte(transport + 12) >> 4) * 4 : 8)
    guard headerBytes >= transport + kind.shortest, headerBytes <= available, headerBytes < total
    else { return nil }
    payloadTotal = total - headerBytes
    switch size {
    case .payload(let bytes): payloadBytes = bytes
    case .frame(let bytes): payloadBytes = bytes - headerBytes
    }
    guard payloadBytes > 0 else { return nil }
  }

  /// Writes the headers of the segment whose payload begins at byte `taken` of the frame's payload.
  ///
  /// - Parameters:
  ///   - header: The destination; ``headerBytes`` bytes.
  ///   - headers: The headers of the frame.
  ///   - payload: The payload of this segment.
  ///   - taken: Bytes of payload in the segments before; a multiple of ``payloadBytes``.
  /// - Returns: Bytes of payload in this segment.
  @inlinable
  package func write(
    header: UnsafeMutableRawPointer, from headers: UnsafeRawPointer, payload: UnsafeRawPointer,
    after taken: Int
  ) -> Int {
    let length = length(after: taken)
    unsafe header.copyMemory(from: headers, byteCount: headerBytes)
    unsafe writeNetworkHeader(header, payload: length, number: taken / payloadBytes)
    let isLast = taken + length == payloadTotal
    let field: Int
    if isTCP {
      let sequence = unsafe load32(header, transport + 4)
      unsafe store32(header, transport + 4, sequence &+ UInt32(truncatingIfNeeded: taken))
      var flags = unsafe header.load(fromByteOffset: transport + 13, as: UInt8.self)
      // FIN and PSH belong to the last segment, CWR to the first.
      if !isLast { flags &= ~0x09 }
      if taken > 0 { flags &= ~0x80 }
      unsafe header.storeBytes(of: flags, toByteOffset: transport + 13, as: UInt8.self)
      field = transport + 16
    } else {
      unsafe store16(header, transport + 4, UInt16(truncatingIfNeeded: 8 + length))
      field = transport + 6
    }
    unsafe store16(header, field, 0)
    let addresses = isIPv4 ? (network + 12, 8) : (network + 8, 32)
    let transportBytes = headerBytes - transport + length
    var sum = unsafe onesComplementSum(header + addresses.0, addresses.1)
    sum &+= UInt64(UInt16(isTCP ? 6 : 17).bigEndian)
    sum &+= UInt64(UInt16(truncatingIfNeeded: transportBytes).bigEndian)
    sum = unsafe onesComplementSum(header + transport, headerBytes - transport, adding: sum)
    // The header's length is even, so the words of the payload are not byte-swapped.
    sum = unsafe onesComplementSum(payload, length, adding: sum)
    unsafe header.storeBytes(of: checksum(sum), toByteOffset: field, as: UInt16.self)
    return length
  }

  /// Bytes of payload in the segment that begins at byte `taken` of the frame's payload.
  @inlinable
  package func length(after taken: Int) -> Int { min(payloadBytes, payloadTotal - taken) }

  @inlinable
  func writeNetworkHeader(
    _ header: UnsafeMutableRawPointer, payload: Int, number: Int
  ) {
    if isIPv4 {
      unsafe store16(
        header, network + 2, UInt16(truncatingIfNeeded: headerBytes - network + payload))
      let identification = unsafe load16(header, network + 4)
      unsafe store16(
        header, network + 4, identification &+ UInt16(truncatingIfNeeded: number))
      unsafe store16(header, network + 10, 0)
      let sum = unsafe onesComplementSum(header + network, transport - network)
      unsafe header.storeBytes(of: ~folded(sum), toByteOffset: network + 10, as: UInt16.self)
    } else {
      unsafe store16(
        header, network + 4, UInt16(truncatingIfNeeded: headerBytes - network - 40 + payload))
    }
  }
}

// Fields in network byte order, at any alignment.

@inlinable @inline(always)
func load16(_ base: UnsafeRawPointer, _ offset: Int) -> UInt16 {
  UInt16(bigEndian: unsafe base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
}

@inlinable @inline(always)
func load32(_ base: UnsafeRawPointer, _ offset: Int) -> UInt32 {
  UInt32(bigEndian: unsafe base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
}

@inlinable @inline(always)
func store16(_ base: UnsafeMutableRawPointer, _ offset: Int, _ value: UInt16) {
  unsafe base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
}

@inlinable @inline(always)
func store32(_ base: UnsafeMutableRawPointer, _ offset: Int, _ value: UInt32) {
  unsafe base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
}
