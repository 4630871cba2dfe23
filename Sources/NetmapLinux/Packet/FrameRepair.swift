internal import CLinux
internal import NetmapCore

// Completes received frames. A sender on this host leaves to the interface the work that the interface can do:
// checksums, and cutting long packets into segments. On a virtual interface this work is still to do when the frame
// arrives. A receiving interface may also join segments by itself (GRO). The kernel reports both in a
// virtio_net_hdr before each frame (PACKET_VNET_HDR; section 5.1.6 of the virtio specification defines the fields).
// The code here does the missing work, so the application sees the packets as a wire would have carried them.

extension ReceivedFrame {
  /// Whether the frame needs a checksum, or has to be segmented.
  @inline(__always)
  var needsRepair: Bool {
    unsafe lacksChecksum || offloadType != UInt8(VIRTIO_NET_HDR_GSO_NONE)
  }

  /// Whether the checksum is not finished.
  @inline(__always)
  var lacksChecksum: Bool {
    unsafe offloadFlags & UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0
  }

  /// Whether the frame stands for several packets.
  @inline(__always)
  var isSuperPacket: Bool {
    unsafe offloadType & ~UInt8(VIRTIO_NET_HDR_GSO_ECN) != UInt8(VIRTIO_NET_HDR_GSO_NONE)
  }

  /// Completes a checksum for which the sender has summed only the pseudo header.
  ///
  /// The result goes into the kernel's ring and is noted in shared memory, so that the checksum is completed only
  /// once.
  ///
  /// - Parameters:
  ///   - note: The note of the checksum, made before the checksum is written.
  ///   - sequence: The number of the frame's block.
  ///   - offset: Where the frame begins in the block.
  /// - Returns: False when the place of the checksum is not in the frame, or a CRC belongs there.
  func finishChecksum(
    _ note: PacketChecksumNote, _ sequence: UInt64, at offset: UInt32
  ) -> Bool {
    guard let place = unsafe checksumPlace, unsafe !hasCRC(at: place) else { return false }
    let value = unsafe note.value(sequence, offset) {
      checksum(unsafe onesComplementSum(data + place.start, length - place.start))
    }
    unsafe finish(value, at: place.field)
    unsafe note.clear()
    return true
  }

  /// Whether the field is that of an SCTP packet, which has a CRC (RFC 9260, appendix A) instead of a checksum. The
  /// virtio-net header does not tell them apart.
  private func hasCRC(at place: (start: Int, field: Int)) -> Bool {
    guard place.field - place.start == 8, unsafe networkOffset >= 14,
      unsafe networkOffset + 10 <= length
    else { return false }
    func byte(_ offset: Int) -> UInt8 {
      unsafe data.load(fromByteOffset: networkOffset + offset, as: UInt8.self)
    }
    return byte(0) >> 4 == 4 ? byte(9) == 132 : byte(6) == 132
  }

  /// How to segment a super-packet; nil for a kind that cannot be segmented here.
  func segmentation() -> Segmentation? {
    let type = unsafe offloadType & ~UInt8(VIRTIO_NET_HDR_GSO_ECN)
    return unsafe Segmentation(
      headers: data, available: min(length, PacketCursorLayout.scratchBytes - 4), total: length,
      network: networkOffset,
      transport: Int(type) == CLINUX_VIRTIO_NET_HDR_GSO_UDP_L4 ? .udp : .tcp,
      skipsExtensions: true, size: .payload(segmentBytes))
  }
}
