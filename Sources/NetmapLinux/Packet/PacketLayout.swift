internal import CLinux
package import NetmapCore

// How big the two rings of an AF_PACKET socket are, and where things lie in them. Pure arithmetic; the
// rules are those of packet_set_ring() as Documentation/networking/packet_mmap.rst states them.

/// The `TPACKET_V3` receive ring: blocks that the kernel fills with frames, one after the other.
package struct PacketReceiveLayout: Hashable, Sendable {
  /// Bytes in a block. Several frames share one, so a frame of up to 64 KiB always fits.
  package static let blockBytes = 256 << 10

  /// How long the kernel keeps a block that is not full, milliseconds: the shortest there is. It bounds
  /// the time a lone packet takes.
  package static let retireTimeoutMilliseconds = 1

  /// The frame size that the kernel asks for, bytes; with version 3 it limits nothing.
  package static let frameBytes = 2048

  package let blockCount: Int

  /// - Parameter slots: Slots of the netmap ring. The blocks hold as many full buffers as the ring has
  ///   slots, so that a burst the ring could take is not lost before it gets there.
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

  /// The most memory one ring takes, bytes; it cannot be swapped out.
  package static let byteLimit = 8 << 20

  /// From the beginning of a frame to the packet: the header, and what we say of offloads.
  package static let dataOffset = CLINUX_FRAME_HEADER + CLINUX_OFFLOAD_BYTES

  /// The largest MTU a ring can serve, as in netmap's emulated mode.
  package static let mtuLimit = 32_768

  package let frameBytes: Int
  package let frameCount: Int

  /// - Parameters:
  ///   - slots: Slots of the netmap ring: as many frames may be under way, memory permitting.
  ///   - mtu: Of the interface, bytes; at most ``mtuLimit``.
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

  /// Bytes of packet that fit a frame.
  package var capacity: Int { frameBytes - Self.dataOffset }

  /// The longest frame an interface sends, bytes, without CRC: Ethernet header, one tag, payload.
  package static func longestFrame(mtu: Int) -> Int { mtu + 14 + 4 }
}

/// Where the words that several processes share lie, for each ring of a port: how far it has got.
///
/// Guarded by the lock of the netmap ring they belong to.
package enum PacketCursorLayout {
  /// A ``PacketReceiveCursor``.
  package static let receive = 0
  /// A ``PacketTransmitCursor``, on a cache line pair of its own.
  package static let transmit = 128
  /// Where the headers of a segment are put together.
  package static let scratch = 256
  package static let scratchBytes = 256
  /// Bytes for one ring.
  package static let byteCount = 512

  /// Where the words of a ring begin in the memory of a port with several pairs.
  package static func offset(_ direction: Direction, pair: Int) -> Int {
    (2 * pair + (direction == .transmit ? 0 : 1)) * byteCount
  }
}
