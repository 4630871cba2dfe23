internal import CLinux
internal import Glibc
package import NetmapCore

/// A tap interface of the calling thread's namespace, which ends with this object.
package struct Tap: ~Copyable {
  private let descriptor: CInt

  /// - Parameters:
  ///   - name: The interface's name; at most 15 characters.
  ///   - hasHeaders: Whether the frames that this object writes begin with a virtio-net header of 10 bytes.
  /// - Throws: ``NetmapError`` when the kernel refuses, `ENOENT` without its tun driver.
  package init(_ name: String, hasHeaders: Bool = false) throws(NetmapError) {
    descriptor = unsafe open("/dev/net/tun", O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw systemError("open", "/dev/net/tun") }
    var block = [UInt8](repeating: 0, count: CLINUX_IFREQ_SIZE)
    for (place, byte) in name.utf8.prefix(15).enumerated() { block[place] = byte }
    // IFF_TAP | IFF_NO_PI, IFF_VNET_HDR, and TUNSETIFF, of <linux/if_tun.h>.
    let flags: UInt16 = 0x1002 | (hasHeaders ? 0x4000 : 0)
    block[CLINUX_IFREQ_VALUE_OFFSET] = UInt8(flags & 0xff)
    block[CLINUX_IFREQ_VALUE_OFFSET + 1] = UInt8(flags >> 8)
    let result = unsafe block.withUnsafeMutableBytes {
      unsafe clinux_ioctl(descriptor, 0x4004_54ca, $0.baseAddress)
    }
    guard result == 0 else {
      let error = systemError("ioctl", "\(name) (TUNSETIFF)")
      close(descriptor)
      throw error
    }
  }

  deinit { close(descriptor) }

  /// Makes the interface receive a frame.
  package func write(_ frame: [UInt8]) throws(NetmapError) {
    guard unsafe Glibc.write(descriptor, frame, frame.count) == frame.count else {
      throw systemError("write", "a tap")
    }
  }
}
