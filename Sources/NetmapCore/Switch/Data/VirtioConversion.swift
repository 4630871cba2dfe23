// Delivery to a port whose virtio-net header differs in length from the sender's, so that packets
// cannot be copied unchanged (`bdg_mismatch_datapath`). Each packet gets a lease of its own,
// because the sender learns how many slots the packet takes only when it examines the packet.

/// The fragments of a packet without its virtio-net header.
@unsafe
struct PacketPieces {
  private let frames: UnsafeMutablePointer<Frame>
  /// The first frame with bytes of the packet, the bytes to skip in it, and the number of such
  /// frames.
  private let first: Int
  private let skipped: Int
  let count: Int
  /// Whether the header has a frame of its own.
  let isHeaderApart: Bool

  /// - Parameters:
  ///   - frames: All frames of the batch.
  ///   - packet: The index of the packet's first frame.
  ///   - header: The length of the virtio-net header, bytes.
  init(_ frames: UnsafeMutablePointer<Frame>, _ packet: Int, header: Int) {
    let fragments = unsafe Int(frames[packet].fragments)
    let isApart = unsafe header > 0 && Int(frames[packet].length) == header && fragments > 1
    unsafe self.frames = unsafe frames
    unsafe first = isApart ? packet + 1 : packet
    unsafe skipped = isApart ? 0 : header
    unsafe count = isApart ? fragments - 1 : fragments
    unsafe isHeaderApart = isApart
  }

  subscript(index: Int) -> (bytes: UnsafeRawPointer, length: Int, room: Int) {
    let frame = unsafe frames[first + index]
    guard unsafe index == 0 && skipped > 0 else {
      return unsafe (frame.bytes, Int(frame.length), Int(frame.room))
    }
    let length = unsafe max(0, Int(frame.length) - skipped)
    return unsafe (frame.bytes + skipped, length, max(length, Int(frame.room) - skipped))
  }

  /// Bytes of the packet, without the header.
  var total: Int { unsafe (0..<count).reduce(0) { unsafe $0 + self[$1].length } }

  /// Copies a range of the packet's bytes to contiguous memory.
  ///
  /// - Parameters:
  ///   - start: The first byte; the whole range must lie within ``total``.
  ///   - length: The number of bytes.
  ///   - target: The destination.
  func copy(from start: Int, _ length: Int, to target: UnsafeMutableRawPointer) {
    var (skip, left, at) = (start, length, 0)
    for index in unsafe 0..<count where left > 0 {
      let piece = unsafe self[index]
      if unsafe skip >= piece.length {
        unsafe skip -= piece.length
        continue
      }
      let part = unsafe min(left, piece.length - skip)
      unsafe (target + at).copyMemory(from: piece.bytes + skip, byteCount: part)
      (skip, left, at) = (0, left - part, at + part)
    }
  }
}

extension Forwarder {
  /// Delivers the packets of two lists, up to the first one that finds no room.
  ///
  /// - Returns: The number of packets delivered or dropped; less than all of them only if `holds`.
  @inline(never)
  func deliverConverted(
    _ own: FrameQueue, _ common: FrameQueue, to place: ReceiveTarget, _ receiver: Int,
    _ shape: FrameShape, _ holds: Bool
  ) -> Int {
    let packets = Int(own.packets) &+ Int(common.packets)
    let slotCount = unsafe Int(place.target.pointee.slotCount)
    var merged = MergedQueues(own, common)
    var taken = 0
    while let packet = unsafe merged.next(frames) {
      let conversion = unsafe VirtioConversion(self, packet, place, shape)
      if let reason = unsafe conversion.refusal {
        unsafe kring.countDrop(reason)
      } else if let lease = unsafe reserve(
        place, for: receiver, enough: conversion.slots,
        fitting: { unsafe $0 >= conversion.slots ? conversion.slots : 0 })
      {
        let bytes = unsafe conversion.write(at: lease.start)
        let pieces = unsafe UInt64(conversion.packets)
        unsafe place.finish(lease, packets: pieces, bytes: bytes)
        unsafe kring.count(.copies, pieces &- 1)
      } else if unsafe conversion.slots >= slotCount || !place.isSound {
        // Waiting would not help: the packet is too long for the ring, or the ring's words are out
        // of range.
        unsafe place.refuse(1)
      } else {
        guard !holds else { return taken }
        unsafe place.refuse(UInt64(packets - taken))
        return packets
      }
      taken += 1
    }
    return taken
  }
}

/// One packet on its way to a port with a header of another length.
@unsafe
struct VirtioConversion {
  /// The reason for which the packet cannot be delivered; nil when it can.
  private(set) var refusal: DropReason?
  /// The slots that the packet takes, and the number of packets that it becomes.
  private(set) var slots = 0
  private(set) var packets = 1

  private let pieces: PacketPieces
  private let header: VirtioHeader
  /// The length of the receiver's header, bytes.
  private let length: Int
  /// Whether the receiver's header gets a slot of its own.
  private var isApart = false
  private var segments: Segmentation?
  private let headers: UnsafeMutableRawPointer
  private let ring: Ring
  private let place: ReceiveTarget
  private let mask: UInt64
  private let largestOffset: Int

  init(_ forwarder: Forwarder, _ packet: Int, _ place: ReceiveTarget, _ shape: FrameShape) {
    let source = unsafe Int(forwarder.headerLength)
    unsafe pieces = PacketPieces(forwarder.frames, packet, header: source)
    // A first frame that is too small for a header holds no header to read.
    let hasHeader = unsafe source > 0 && Int(forwarder.frames[packet].room) >= VirtioHeader.shortest
    unsafe header = hasHeader ? VirtioHeader(reading: forwarder.frames[packet].bytes) : .empty
    unsafe length = Int(shape.headerLength)
    unsafe headers = forwarder.headers
    unsafe self.place = place
    unsafe ring = place.view
    unsafe mask = place.kring.openOffsetMask
    // The offset that a pointer with all bits gives is the largest one.
    unsafe largestOffset = ring.rule.offset(
      of: .max, mask: mask, limit: place.kring.openOffsetMax)
    let largest = unsafe ring.rule.room(at: largestOffset)
    let room = unsafe mask == 0 ? largest : place.kring.limitedByGap(largest)
    if unsafe length > 0 {
      guard unsafe room >= length else {
        unsafe refusal = .badLength
        return
      }
      unsafe isApart = unsafe pieces.isHeaderApart || length + pieces[0].length > room
      unsafe slots = pieces.count + (isApart ? 1 : 0)
    } else if unsafe !header.isSane {
      unsafe refusal = .badHeader
    } else if let transport = unsafe header.segmented {
      unsafe planSegments(transport, min(shape.frameLimit, room))
    } else {
      unsafe slots = pieces.count
    }
  }

  private mutating func planSegments(_ transport: Segmentation.Transport, _ limit: Int) {
    // Copy the headers first: the sender may still write to them.
    let first = unsafe pieces[0]
    let available = unsafe min(first.length, ForwardScratch.headerBytes)
    unsafe headers.copyMemory(from: first.bytes, byteCount: available)
    guard let network = unsafe Self.networkOffset(headers, available),
      let segments = unsafe Segmentation(
        headers: headers, available: available, total: pieces.total, network: network,
        transport: transport, skipsExtensions: false, size: .frame(limit))
    else {
      unsafe refusal = .badHeader
      return
    }
    unsafe self.segments = segments
    unsafe slots = segments.count
    unsafe packets = segments.count
  }

  /// The offset of the IP header behind any VLAN tags; nil when there is none, or when its version
  /// contradicts the EtherType.
  private static func networkOffset(_ headers: UnsafeRawPointer, _ available: Int) -> Int? {
    var offset = 12
    while offset + 2 < available {
      let type = UInt16(
        bigEndian: unsafe headers.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
      let version = unsafe headers.load(fromByteOffset: offset + 2, as: UInt8.self) >> 4
      switch type {
      case 0x8100, 0x88a8: offset += 4
      case 0x0800: return version == 4 ? offset + 2 : nil
      case 0x86dd: return version == 6 ? offset + 2 : nil
      default: return nil
      }
    }
    return nil
  }

  // MARK: - Writing

  /// Fills the slots of the lease that begins at `start`.
  ///
  /// - Returns: The number of bytes written.
  func write(at start: UInt32) -> UInt64 {
    if let segments = unsafe segments { return unsafe write(segments, at: start) }
    var slot = start
    var bytes: UInt64 = 0
    var flags = UInt16(unsafe slots) << 8 | SlotFlags.moreFragments.rawValue
    var left = unsafe slots
    func close(_ length: Int) {
      left -= 1
      if left == 0 { flags &= ~SlotFlags.moreFragments.rawValue }
      unsafe ring.place(slot).store(
        length: UInt16(truncatingIfNeeded: length), flags: SlotFlags(rawValue: flags))
      bytes &+= UInt64(length)
      unsafe slot = ring.next(slot)
    }
    if unsafe isApart {
      unsafe header.write(to: target(slot).bytes, length)
      unsafe close(length)
    }
    var checksum = unsafe length == 0 ? header.checksum.map { unsafe WrittenChecksum($0) } : nil
    for index in unsafe 0..<pieces.count {
      let piece = unsafe pieces[index]
      let (target, room) = unsafe self.target(slot)
      let front = unsafe index == 0 && !isApart ? length : 0
      guard unsafe front + piece.length <= room else {
        close(0)
        unsafe checksum?.add(target, 0)
        continue
      }
      if front > 0 { unsafe header.write(to: target, front) }
      unsafe copyPacket(
        from: piece.bytes, to: target + front, piece.length, room: min(room - front, piece.room))
      unsafe close(front + piece.length)
      unsafe checksum?.add(target, piece.length)
    }
    unsafe checksum?.complete()
    return bytes
  }

  private func write(_ segments: Segmentation, at start: UInt32) -> UInt64 {
    var slot = start
    var taken = 0
    var bytes: UInt64 = 0
    while taken < segments.payloadTotal {
      let target = unsafe self.target(slot).bytes
      let payload = unsafe target + segments.headerBytes
      let length = segments.length(after: taken)
      unsafe pieces.copy(from: segments.headerBytes + taken, length, to: payload)
      _ = unsafe segments.write(header: target, from: headers, payload: payload, after: taken)
      unsafe ring.place(slot).store(
        length: UInt16(truncatingIfNeeded: segments.headerBytes + length),
        flags: SlotFlags(rawValue: 0))
      bytes &+= UInt64(segments.headerBytes + length)
      taken += length
      unsafe slot = ring.next(slot)
    }
    return bytes
  }

  /// Where the packet of a slot begins, and the room from there on, bytes.
  private func target(_ slot: UInt32) -> (bytes: UnsafeMutableRawPointer, room: Int) {
    let content = unsafe ring.load(slot)
    let rule = unsafe ring.rule
    let offset = unsafe rule.offset(of: content.pointer, mask: mask, limit: UInt64(largestOffset))
    // The length field of a slot has 16 bits.
    let room = unsafe min(
      mask == 0 ? rule.room(at: offset) : place.kring.limitedByGap(rule.room(at: offset)),
      Int(UInt16.max))
    return unsafe (ring.buffer(content.bufferIndex) + offset, room)
  }
}

/// A checksum over a packet while this process writes it, piece by piece, into a receiver's
/// buffers.
///
/// The receiver can write to its slots and buffers meanwhile. Each piece is therefore added right
/// after it was written, with the address and the length that were used to write it. Neither is
/// loaded again.
@unsafe
private struct WrittenChecksum {
  /// The first byte of the packet that the checksum covers, and the offset of the checksum field.
  private let fields: (start: Int, field: Int)
  private var place: UnsafeMutableRawPointer?
  private var sum: UInt64 = 0
  private var position = 0
  private var isFirst = true

  init(_ fields: (start: Int, field: Int)) {
    unsafe self.fields = fields
    unsafe place = nil
  }

  /// Adds the next piece of the packet.
  ///
  /// - Parameters:
  ///   - bytes: The address at which the piece was written.
  ///   - length: Its length, bytes.
  mutating func add(_ bytes: UnsafeMutableRawPointer, _ length: Int) {
    if unsafe isFirst {
      unsafe isFirst = false
      if unsafe fields.field + 2 <= length { unsafe place = unsafe bytes + fields.field }
    }
    let skip = unsafe max(0, min(length, fields.start - position))
    let part = unsafe onesComplementSum(bytes + skip, length - skip)
    // The words of a piece that begins at an odd byte are byte-swapped.
    let isOdd = unsafe (position + skip - fields.start) & 1 != 0
    unsafe sum &+= isOdd ? UInt64(folded(part).byteSwapped) : UInt64(folded(part))
    unsafe position += length
  }

  /// Stores the checksum if its field lies in the first piece.
  func complete() {
    unsafe place?.storeBytes(of: checksum(sum), as: UInt16.self)
  }
}
