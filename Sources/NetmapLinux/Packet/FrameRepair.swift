internal import CLinux
internal import Synchronization

// A sender on this host leaves to the interface what the interface can do: checksums, and cutting long
// packets into segments. Over a virtual interface nobody has done it when the frame arrives, and a
// receiving interface joins segments on its own account (GRO). The kernel says so in a virtio_net_hdr
// before each frame (PACKET_VNET_HDR; the meaning of the fields is that of the virtio specification,
// 5.1.6), and what is missing is done here: the application sees what a wire would have carried.

extension ReceivedFrame {
  @inline(__always)
  private func offload<T: BitwiseCopyable>(_ offset: Int, as type: T.Type) -> T {
    unsafe data.loadUnaligned(
      fromByteOffset: Int(offset) - CLINUX_OFFLOAD_BYTES, as: type)
  }

  /// Whether anything is missing at all.
  @inline(__always)
  var needsRepair: Bool {
    unsafe offload(CLINUX_OFFLOAD_FLAGS, as: UInt8.self) & UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0
      || offload(CLINUX_OFFLOAD_TYPE, as: UInt8.self) != UInt8(VIRTIO_NET_HDR_GSO_NONE)
  }

  /// Completes a checksum of which the sender has summed the pseudo header only.
  ///
  /// Done in the ring, and noted there, so that it happens once.
  ///
  /// - Parameters:
  ///   - note: Where to note the checksum before it is written.
  ///   - sequence: The number of the frame's block.
  ///   - offset: Where the frame is in it.
  func finishChecksum(_ note: PacketChecksumNote, _ sequence: UInt64, at offset: UInt32) {
    guard
      unsafe offload(CLINUX_OFFLOAD_FLAGS, as: UInt8.self) & UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0
    else { return }
    let start = unsafe Int(offload(CLINUX_OFFLOAD_START, as: UInt16.self))
    let field = unsafe start + Int(offload(CLINUX_OFFLOAD_FIELD, as: UInt16.self))
    guard unsafe start < length, unsafe field + 2 <= length else { return }
    let value = unsafe note.value(sequence, offset) {
      checksum(unsafe onesComplementSum(data + start, length - start))
    }
    unsafe (data + field).storeBytes(of: value, as: UInt16.self)
    atomicMemoryFence(ordering: .releasing)
    unsafe data.storeBytes(
      of: 0, toByteOffset: CLINUX_OFFLOAD_FLAGS - CLINUX_OFFLOAD_BYTES, as: UInt8.self)
    unsafe note.clear()
  }

  /// How to cut the frame; nil when it is one packet, or of a kind that cannot be cut here.
  func segmentation() -> Segmentation? {
    let type = unsafe offload(CLINUX_OFFLOAD_TYPE, as: UInt8.self) & ~UInt8(VIRTIO_NET_HDR_GSO_ECN)
    guard type != UInt8(VIRTIO_NET_HDR_GSO_NONE) else { return nil }
    return unsafe Segmentation(
      frame: data, length: length, network: networkOffset, type: Int(type),
      payloadBytes: Int(offload(CLINUX_OFFLOAD_SIZE, as: UInt16.self)))
  }
}

/// Cuts a TCP or UDP super-packet into the packets that a wire would carry.
struct Segmentation {
  /// From the beginning of the frame: where the network and the transport header begin, and where the
  /// payload does.
  let network: Int
  let transport: Int
  let headerBytes: Int
  /// Bytes of payload in the frame, and in each segment but the last.
  let payloadTotal: Int
  let payloadBytes: Int
  let isTCP: Bool
  let isIPv4: Bool

  /// How many segments there are.
  var count: Int { (payloadTotal + payloadBytes - 1) / payloadBytes }

  /// - Returns: Nil when the headers are not those of TCP or UDP over IPv4 or IPv6, or damaged.
  init?(
    frame: UnsafeMutableRawPointer, length: Int, network: Int, type: Int, payloadBytes: Int
  ) {
    func byte(_ offset: Int) -> UInt8 { unsafe frame.load(fromByteOffset: offset, as: UInt8.self) }
    guard network >= 14, network + 40 <= length, payloadBytes > 0 else { return nil }
    self.network = network
    var transport = network
    let transportType: UInt8
    switch byte(network) >> 4 {
    case 4:
      isIPv4 = true
      transport += Int(byte(network) & 15) * 4
      transportType = byte(network + 9)
    case 6:
      isIPv4 = false
      transport += 40
      var next = byte(network + 6)
      // Hop-by-hop, routing and destination options have a length and may come before.
      while next == 0 || next == 43 || next == 60 {
        guard transport + 8 <= length else { return nil }
        next = byte(transport)
        transport += (Int(byte(transport + 1)) + 1) * 8
      }
      transportType = next
    default: return nil
    }
    self.transport = transport
    switch transportType {
    case 6 where type != CLINUX_VIRTIO_NET_HDR_GSO_UDP_L4:
      guard transport + 20 <= length else { return nil }
      isTCP = true
      headerBytes = transport + Int(byte(transport + 12) >> 4) * 4
    case 17 where type == CLINUX_VIRTIO_NET_HDR_GSO_UDP_L4:
      isTCP = false
      headerBytes = transport + 8
    default: return nil
    }
    guard transport >= network + 20, headerBytes >= transport + 8, headerBytes < length,
      headerBytes <= PacketCursorLayout.scratchBytes - 4
    else { return nil }
    payloadTotal = length - headerBytes
    self.payloadBytes = payloadBytes
  }

  /// Writes the headers of the segment whose payload begins `taken` bytes into that of the frame.
  ///
  /// - Parameters:
  ///   - header: Where to; ``headerBytes`` bytes.
  ///   - frame: The whole frame.
  ///   - taken: Bytes of payload in the segments before; a multiple of ``payloadBytes``.
  /// - Returns: Bytes of payload in this segment.
  func write(
    header: UnsafeMutableRawPointer, of frame: UnsafeMutableRawPointer, after taken: Int
  ) -> Int {
    let payload = min(payloadBytes, payloadTotal - taken)
    unsafe header.copyMemory(from: frame, byteCount: headerBytes)
    unsafe writeNetworkHeader(unsafe header, payload: payload, number: taken / payloadBytes)
    let isLast = taken + payload == payloadTotal
    let field: Int
    if isTCP {
      let sequence = unsafe load32(header, transport + 4)
      unsafe store32(header, transport + 4, sequence &+ UInt32(truncatingIfNeeded: taken))
      var flags = unsafe header.load(fromByteOffset: transport + 13, as: UInt8.self)
      // FIN and PSH belong to the last byte, CWR to the first.
      if !isLast { flags &= ~0x09 }
      if taken > 0 { flags &= ~0x80 }
      unsafe header.storeBytes(of: flags, toByteOffset: transport + 13, as: UInt8.self)
      field = transport + 16
    } else {
      unsafe store16(header, transport + 4, UInt16(truncatingIfNeeded: 8 + payload))
      field = transport + 6
    }
    unsafe store16(header, field, 0)
    let addresses = isIPv4 ? (network + 12, 8) : (network + 8, 32)
    let transportBytes = headerBytes - transport + payload
    var sum = unsafe onesComplementSum(header + addresses.0, addresses.1)
    sum &+= UInt64(UInt16(isTCP ? 6 : 17).bigEndian)
    sum &+= UInt64(UInt16(truncatingIfNeeded: transportBytes).bigEndian)
    sum = unsafe onesComplementSum(header + transport, headerBytes - transport, adding: sum)
    // The header's length is even, so the payload's words are not shifted.
    sum = unsafe onesComplementSum(frame + headerBytes + taken, payload, adding: sum)
    unsafe header.storeBytes(of: checksum(sum), toByteOffset: field, as: UInt16.self)
    return payload
  }

  private func writeNetworkHeader(
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

// Fields in network byte order, at any address.

@inline(__always)
private func load16(_ base: UnsafeMutableRawPointer, _ offset: Int) -> UInt16 {
  UInt16(bigEndian: unsafe base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
}

@inline(__always)
private func load32(_ base: UnsafeMutableRawPointer, _ offset: Int) -> UInt32 {
  UInt32(bigEndian: unsafe base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
}

@inline(__always)
private func store16(_ base: UnsafeMutableRawPointer, _ offset: Int, _ value: UInt16) {
  unsafe base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
}

@inline(__always)
private func store32(_ base: UnsafeMutableRawPointer, _ offset: Int, _ value: UInt32) {
  unsafe base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
}
