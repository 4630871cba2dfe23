internal import Glibc

/// Properties of a network interface, from the kernel.
package enum NetworkInterface {
  /// Whether an interface of that name exists.
  package static func exists(_ name: String) -> Bool {
    unsafe if_nametoindex(name) != 0
  }

  /// The MTU in bytes, without the Ethernet header; nil when unknown.
  package static func mtu(of name: String) -> Int? {
    request(0x8921, name).map { Int($0.loadLittle(at: 16)) }
  }

  /// The Ethernet address as text, `aa:bb:cc:dd:ee:ff`; nil when the interface has none.
  package static func address(of name: String) -> String? {
    guard let bytes = request(0x8927, name) else { return nil }
    return bytes[18..<24].map { TextFormat.hexadecimal($0, 2) }.joined(separator: ":")
  }

  /// Whether the interface has a device, so that its link may go down for a while when a driver is
  /// reconfigured; true when unknown.
  package static func mayResetLink(_ name: String) -> Bool {
    let folder = "/sys/class/net/\(name)"
    guard unsafe access(folder, F_OK) == 0 else { return true }
    return unsafe access(folder + "/device", F_OK) == 0
  }

  /// Fills a `struct ifreq` (40 bytes: a name of 16 bytes, then the answer); see netdevice(7).
  private static func request(_ number: UInt, _ name: String) -> [UInt8]? {
    let word = Array(name.utf8)
    guard !word.isEmpty, word.count < 16 else { return nil }
    var buffer = word + [UInt8](repeating: 0, count: 40 - word.count)
    let file = socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0)
    guard file >= 0 else { return nil }
    defer { close(file) }
    let code = unsafe buffer.withUnsafeMutableBytes { bytes in
      guard let start = bytes.baseAddress else { return CInt(-1) }
      return unsafe ioctl(file, number, start)
    }
    return code == 0 ? buffer : nil
  }
}

extension [UInt8] {
  fileprivate func loadLittle(at offset: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(self[offset + $1]) << UInt32($1 * 8) }
  }
}
