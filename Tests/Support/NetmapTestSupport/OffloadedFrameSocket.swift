internal import CLinux
internal import Glibc

/// Sends frames on an interface and leaves checksums to it, at any place that the kernel accepts; packet(7),
/// `PACKET_VNET_HDR`.
public struct OffloadedFrameSocket: ~Copyable {
  private let socket: FrameSocket

  /// - Parameter interface: The interface's name in the calling thread's namespace.
  /// - Throws: ``ProgramError`` when no interface has that name, or without the required rights.
  public init(_ interface: String) throws {
    let socket = try FrameSocket(interface)
    try socket.describeOffloads()
    self.socket = socket
  }

  /// Sends a frame whose checksum is to be computed.
  ///
  /// - Parameters:
  ///   - frame: The frame.
  ///   - start: Where the bytes that the checksum covers begin.
  ///   - field: From there to the place of the checksum.
  /// - Returns: Whether the kernel accepted it.
  public func send(_ frame: [UInt8], start: UInt16, field: UInt16) -> Bool {
    // struct virtio_net_hdr: flags, kind of segmentation, lengths of header and segments, start and field.
    let header = [UInt16(VIRTIO_NET_HDR_F_NEEDS_CSUM), 0, 0, start, field].flatMap {
      [UInt8($0 & 0xff), UInt8($0 >> 8)]
    }
    return socket.send(header + frame)
  }
}

extension FrameSocket {
  /// From now on, a virtio-net header of 10 bytes precedes each frame.
  fileprivate func describeOffloads() throws {
    guard setOption(CInt(PACKET_VNET_HDR), 1) else {
      throw ProgramError(text: "PACKET_VNET_HDR: errno \(errno)")
    }
  }
}
