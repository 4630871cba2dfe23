internal import CLinux
internal import Glibc

/// A tap interface of the calling thread's namespace, which ends with this object.
public struct Tap: ~Copyable {
  private let descriptor: CInt

  /// - Parameter name: The interface's name; at most 15 characters.
  /// - Throws: ``ProgramError`` when the kernel refuses.
  public init(_ name: String) throws {
    descriptor = unsafe open("/dev/net/tun", O_RDWR | O_CLOEXEC)
    var block = [UInt8](repeating: 0, count: CLINUX_IFREQ_SIZE)
    for (place, byte) in name.utf8.enumerated() { block[place] = byte }
    // IFF_TAP | IFF_NO_PI, and TUNSETIFF, of <linux/if_tun.h>.
    let flags: UInt16 = 0x1002
    block[CLINUX_IFREQ_VALUE_OFFSET] = UInt8(flags & 0xff)
    block[CLINUX_IFREQ_VALUE_OFFSET + 1] = UInt8(flags >> 8)
    let result = unsafe block.withUnsafeMutableBytes {
      unsafe clinux_ioctl(descriptor, 0x4004_54ca, $0.baseAddress)
    }
    guard result == 0 else {
      let code = errno
      close(descriptor)
      throw ProgramError(text: "TUNSETIFF \(name): errno \(code)")
    }
  }

  deinit { close(descriptor) }

  /// Makes the interface receive a frame.
  public func write(_ frame: [UInt8]) throws {
    guard unsafe Glibc.write(descriptor, frame, frame.count) == frame.count else {
      throw ProgramError(text: "write to a tap: errno \(errno)")
    }
  }
}
