internal import CLinux
package import NetmapCore

// The sizes of the two rings of an AF_PACKET socket, and the places in them. Pure arithmetic. The rules are those
// of packet_set_ring(), as Documentation/networking/packet_mmap.rst states them.

/// The `TPACKET_V3` receive ring: blocks that the kernel fills with frames, one after the other.
package struct PacketReceiveLayout: Hashable, Sendable {
  /// Bytes in a block. Several frames share one, so a frame of up to 64 KiB always fits.
  package static let blockBytes = 256 << 10

  /// How long the kernel keeps a block that is not full, milliseconds: the shortest time that it offers. This
  /// bounds the delay of a lone packet.
  package static let retireTimeoutMilliseconds = 1

  /// The frame size that a request must state, bytes. With `TPACKET_V3` it limits nothing.
  package static let frameBytes = 2048

  package let blockCount: Int

  /// - Parameter slots: Slots of the netmap ring. The blocks hold as many full buffers as the ring has slots, so
  ///   that a burst that fits the ring is not lost before it gets there.
  package init(slots: Int) {
    let wanted = (slots * 2048 + Self.blockBytes - 1) / Self.blockBytes
    blockCount = min(max(wanted, 4), 64)
  }

  package var byteCount: Int { blockCount * Self.blockBytes }
}

/// The transmit ring: frames of one size, each with a header and one packet.
package struct PacketTransmitLayout: Hashable, Sendable {
  /// Bytes in a block; a whole number of frames, so that frame *i* begins `i * frameBytes` bytes in.
  package static let blockBytes = 256 << 10

  /// The most memory that one ring takes, bytes. This memory cannot be swapped out.
  package static let byteLimit = 8 << 20

  /// From the beginning of a frame to the packet, bytes: the frame's header and the offload words.
  package static let dataOffset = CLINUX_FRAME_HEADER + CLINUX_OFFLOAD_BYTES

  /// The largest MTU a ring can serve, that of the loopback interface: no interface has a larger one.
  package static let mtuLimit = 65_536

  package let frameBytes: Int
  package let frameCount: Int

  /// - Parameters:
  ///   - slots: Slots of the netmap ring. As many frames may be under way, if the memory limit allows it.
  ///   - mtu: The MTU of the interface, bytes; at most ``mtuLimit``.
  package init(slots: Int, mtu: Int) {
    var size = 2048
    while size < Self.dataOffset + Self.longestFrame(mtu: mtu) { size *= 2 }
    frameBytes = size
    let perBlock = Self.blockBytes / size
    let wanted = min(max(slots, 16), Self.byteLimit / size)
    frameCount = (wanted + perBlock - 1) / perBlock * perBlock
  }

  package var byteCount: Int { frameCount * frameBytes }
  package var blockCount: Int { byteCount / Self.blockBytes }

  /// The most bytes of a packet that fit a frame.
  package var capacity: Int { frameBytes - Self.dataOffset }

  /// The longest frame an interface sends, bytes, without CRC: Ethernet header, one tag, payload.
  package static func longestFrame(mtu: Int) -> Int { mtu + 14 + 4 }
}

/// The layout of the words that say how far each ring of a port has got. Several processes share them.
///
/// The lock of a netmap ring guards the words of that ring.
package enum PacketCursorLayout {
  /// A ``PacketReceiveCursor``.
  package static let receive = 0
  /// A ``PacketTransmitCursor``, on a cache line pair of its own.
  package static let transmit = 128
  /// Where a sync puts the headers of a segment together.
  package static let scratch = 256
  package static let scratchBytes = 256
  /// Bytes for one ring.
  package static let byteCount = 512

  /// Where the words of a ring begin in the memory of a port with several pairs.
  package static func offset(_ direction: Direction, pair: Int) -> Int {
    (2 * pair + (direction == .transmit ? 0 : 1)) * byteCount
  }
}
