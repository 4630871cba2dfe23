internal import CLinux
internal import Glibc

/// Sends frames on an interface as the host does; see packet(7).
public struct FrameSocket: ~Copyable {
  private let descriptor: CInt

  /// - Parameter interface: The interface's name in the calling thread's namespace.
  /// - Throws: ``ProgramError`` when no interface has that name, or without the required rights.
  public init(_ interface: String) throws {
    descriptor = socket(AF_PACKET, CInt(CLINUX_SOCK_RAW | CLINUX_SOCK_CLOEXEC), 0)
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_ifindex = CInt(unsafe if_nametoindex(interface))
    let result = unsafe withUnsafePointer(to: address) { address in
      unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
      }
    }
    guard result == 0 else {
      let code = errno
      close(descriptor)
      throw ProgramError(text: "bind packet socket to \(interface): errno \(code)")
    }
  }

  deinit { close(descriptor) }

  /// Sets an option of packet(7).
  func setOption(_ option: CInt, _ value: CInt) -> Bool {
    var value = value
    return unsafe setsockopt(
      descriptor, CInt(SOL_PACKET), option, &value, socklen_t(MemoryLayout<CInt>.size)) == 0
  }

  /// Sends a frame.
  ///
  /// - Returns: Whether the interface accepted the frame.
  @discardableResult
  public func send(_ frame: [UInt8]) -> Bool {
    unsafe Glibc.send(descriptor, frame, frame.count, 0) == frame.count
  }
}
