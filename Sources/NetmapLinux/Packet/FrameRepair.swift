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
    unsafe offloadFlags & UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0
      || offloadType != UInt8(VIRTIO_NET_HDR_GSO_NONE)
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
  func finishChecksum(_ note: PacketChecksumNote, _ sequence: UInt64, at offset: UInt32) {
    guard unsafe offloadFlags & UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0,
      let place = unsafe checksumPlace
    else { return }
    let value = unsafe note.value(sequence, offset) {
      checksum(unsafe onesComplementSum(data + place.start, length - place.start))
    }
    unsafe finish(value, at: place.field)
    unsafe note.clear()
  }

  /// How to segment the frame; nil when it is one packet, or of a kind that cannot be segmented here.
  func segmentation() -> Segmentation? {
    let type = unsafe offloadType & ~UInt8(VIRTIO_NET_HDR_GSO_ECN)
    guard type != UInt8(VIRTIO_NET_HDR_GSO_NONE) else { return nil }
    return unsafe Segmentation(
      headers: data, available: min(length, PacketCursorLayout.scratchBytes - 4), total: length,
      network: networkOffset,
      transport: Int(type) == CLINUX_VIRTIO_NET_HDR_GSO_UDP_L4 ? .udp : .tcp,
      skipsExtensions: true, size: .payload(segmentBytes))
  }
}
