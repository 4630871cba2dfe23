internal import Glibc

/// What the kernel says about a network interface.
package enum NetworkInterface {
  /// Whether there is an interface of that name.
  package static func exists(_ name: String) -> Bool {
    unsafe if_nametoindex(name) != 0
  }

  /// The largest packet, without the Ethernet header; nil when it is not known.
  package static func mtu(of name: String) -> Int? {
    request(0x8921, name).map { Int($0.loadLittle(at: 16)) }
  }

  /// The Ethernet address in the usual text, `aa:bb:cc:dd:ee:ff`; nil when there is none.
  package static func address(of name: String) -> String? {
    guard let bytes = request(0x8927, name) else { return nil }
    return bytes[18..<24].map { TextFormat.hexadecimal($0, 2) }.joined(separator: ":")
  }

  /// Whether a device stands behind the interface, so that its link may go down for a while when
  /// drivers are reconfigured. True when that cannot be known.
  package static func mayResetLink(_ name: String) -> Bool {
    let folder = "/sys/class/net/\(name)"
    guard unsafe access(folder, F_OK) == 0 else { return true }
    return unsafe access(folder + "/device", F_OK) == 0
  }

  /// Fills a `struct ifreq` (40 bytes: 16 of the name, then the answer). See netdevice(7).
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
