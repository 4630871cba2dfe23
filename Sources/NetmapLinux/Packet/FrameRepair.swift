internal import CLinux
internal import NetmapCore

// A sender on this host leaves to the interface what the interface can do: checksums, and cutting long
// packets into segments. Over a virtual interface nobody has done it when the frame arrives, and a
// receiving interface joins segments on its own account (GRO). The kernel says so in a virtio_net_hdr
// before each frame (PACKET_VNET_HDR; the meaning of the fields is that of the virtio specification,
// 5.1.6), and what is missing is done here: the application sees what a wire would have carried.

extension ReceivedFrame {
  /// Whether anything is missing at all.
  @inline(__always)
  var needsRepair: Bool {
    unsafe offloadFlags & UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0
      || offloadType != UInt8(VIRTIO_NET_HDR_GSO_NONE)
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
    guard unsafe offloadFlags & UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0,
      let place = unsafe checksumPlace
    else { return }
    let value = unsafe note.value(sequence, offset) {
      checksum(unsafe onesComplementSum(data + place.start, length - place.start))
    }
    unsafe finish(value, at: place.field)
    unsafe note.clear()
  }

  /// How to cut the frame; nil when it is one packet, or of a kind that cannot be cut here.
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
