internal import CLinux
internal import Glibc
internal import NetmapCore

/// What the kernel says about the XDP support of a driver: generic netlink family `netdev`, command
/// `NETDEV_CMD_DEV_GET` (<linux/netdev.h>, Linux 6.3).
struct DeviceFeatures: OptionSet {
  let rawValue: UInt64

  /// `NETDEV_XDP_ACT_BASIC`: the driver runs XDP programs.
  static let programs = DeviceFeatures(rawValue: 1 << 0)
  /// `NETDEV_XDP_ACT_REDIRECT`: a program may send frames to AF_XDP sockets.
  static let redirect = DeviceFeatures(rawValue: 1 << 1)
  /// `NETDEV_XDP_ACT_XSK_ZEROCOPY`.
  static let zeroCopy = DeviceFeatures(rawValue: 1 << 3)

  /// Asks about an interface in the calling thread's network namespace.
  ///
  /// - Returns: Nil when the kernel does not say.
  static func of(_ index: UInt32) -> DeviceFeatures? {
    let file = socket(
      AF_NETLINK, CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue), CInt(NETLINK_GENERIC))
    guard file >= 0 else { return nil }
    defer { close(file) }
    // CTRL_CMD_GETFAMILY of the controller, GENL_ID_CTRL, with CTRL_ATTR_FAMILY_NAME.
    let family = ask(file, type: 16, command: 3, attribute(2, Array("netdev\0".utf8)))
    // CTRL_ATTR_FAMILY_ID
    guard let number = family.flatMap({ value(1, in: $0) }) else { return nil }
    let index = unsafe withUnsafeBytes(of: index) { unsafe Array($0) }
    // NETDEV_CMD_DEV_GET with NETDEV_A_DEV_IFINDEX; the answer has NETDEV_A_DEV_XDP_FEATURES.
    let answer = ask(file, type: number.number(), command: 1, attribute(1, index))
    return answer.flatMap { value(3, in: $0) }.map { DeviceFeatures(rawValue: $0.number()) }
  }

  private static func attribute(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
    var bytes = words(UInt16(4 + value.count), type) + value
    while bytes.count % 4 != 0 { bytes.append(0) }
    return bytes
  }

  private static func words(_ values: UInt16...) -> [UInt8] {
    values.flatMap { value in unsafe withUnsafeBytes(of: value) { unsafe Array($0) } }
  }

  /// Sends one request.
  ///
  /// - Returns: The attributes of the answer; nil for an error.
  private static func ask(
    _ file: CInt, type: UInt16, command: UInt8, _ attributes: [UInt8]
  ) -> ArraySlice<UInt8>? {
    // struct nlmsghdr, 16 bytes, and struct genlmsghdr, 4 bytes.
    let length = UInt32(20 + attributes.count)
    var bytes = unsafe withUnsafeBytes(of: length) { unsafe Array($0) }
    bytes += words(type, UInt16(NLM_F_REQUEST)) + [UInt8](repeating: 0, count: 8)
    bytes += [command, 1, 0, 0] + attributes
    guard unsafe send(file, bytes, bytes.count, 0) == bytes.count else { return nil }
    var answer = [UInt8](repeating: 0, count: 32 << 10)
    let count = unsafe recv(file, &answer, answer.count, 0)
    guard count >= 20, Int32(answer[4...].number() as UInt16) != NLMSG_ERROR else { return nil }
    return answer[20..<count]
  }

  private static func value(_ wanted: UInt16, in attributes: ArraySlice<UInt8>) -> ArraySlice<
    UInt8
  >? {
    var rest = attributes
    while rest.count >= 4 {
      let length = Int(rest.number() as UInt16)
      guard (4...rest.count).contains(length) else { return nil }
      let type: UInt16 = rest.dropFirst(2).number()
      if type & 0x3fff == wanted { return rest.prefix(length).dropFirst(4) }
      rest = rest.dropFirst((length + 3) & ~3)
    }
    return nil
  }
}
