internal import CLinux
internal import Glibc
package import NetmapCore

/// A request to rtnetlink(7): a header, followed by attributes, which can be nested.
package struct NetlinkMessage {
  private var bytes: [UInt8] = []

  /// - Parameters:
  ///   - type: `RTM_NEWLINK`, ...
  ///   - flags: Flags in addition to `NLM_F_REQUEST` and `NLM_F_ACK`.
  ///   - interface: The interface's index, or 0 for a new interface.
  ///   - interfaceFlags: The flags to set, such as `IFF_UP`; others stay unchanged.
  package init(
    _ type: Int, flags: Int32 = 0, interface: UInt32 = 0, interfaceFlags: UInt32 = 0
  ) {
    var header = nlmsghdr()
    header.nlmsg_type = UInt16(type)
    header.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_ACK | flags)
    append(header)
    appendInterface(interface, flags: interfaceFlags)
  }

  private mutating func append<T: BitwiseCopyable>(_ value: T) {
    unsafe withUnsafeBytes(of: value) { unsafe bytes.append(contentsOf: $0) }
    align()
  }

  /// Adds a `struct ifinfomsg`.
  package mutating func appendInterface(_ index: UInt32 = 0, flags: UInt32 = 0) {
    var information = ifinfomsg()
    information.ifi_index = Int32(bitPattern: index)
    information.ifi_flags = flags
    information.ifi_change = flags
    append(information)
  }

  /// Adds an attribute that contains the attributes that `fill` adds.
  package mutating func nest(_ type: Int, _ fill: (inout NetlinkMessage) -> Void) {
    let start = bytes.count
    append(UInt32(0))
    fill(&self)
    let length = UInt16(bytes.count - start)
    set(UInt32(length) | UInt32(type) << 16, at: start)
  }

  package mutating func attribute<T: BitwiseCopyable>(_ type: Int, _ value: T) {
    append(UInt32(4 + MemoryLayout<T>.size) | UInt32(type) << 16)
    append(value)
  }

  package mutating func attribute(_ type: Int, _ text: String) {
    append(UInt32(4 + text.utf8.count + 1) | UInt32(type) << 16)
    bytes += Array(text.utf8) + [0]
    align()
  }

  private mutating func align() {
    while bytes.count % 4 != 0 { bytes.append(0) }
  }

  private mutating func set(_ value: UInt32, at offset: Int) {
    unsafe bytes.withUnsafeMutableBytes {
      unsafe $0.storeBytes(of: value, toByteOffset: offset, as: UInt32.self)
    }
  }

  /// Sends the request from the calling thread's namespace and waits for the answer.
  ///
  /// - Parameter subject: The interface, for error messages.
  /// - Returns: The kernel's messages before its acknowledgement; empty for most requests.
  /// - Throws: ``NetmapError`` with the kernel's `errno`.
  package consuming func exchange(_ subject: String) throws(NetmapError) -> [UInt8] {
    set(UInt32(bytes.count), at: 0)
    let socket = Glibc.socket(
      AF_NETLINK, CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue), NETLINK_ROUTE)
    guard socket >= 0 else { throw systemError("socket", "netlink") }
    defer { close(socket) }
    guard unsafe send(socket, bytes, bytes.count, 0) == bytes.count else {
      throw systemError("send", "netlink")
    }
    var result: [UInt8] = []
    while true {
      var buffer = [UInt8](repeating: 0, count: 32 << 10)
      let count = unsafe recv(socket, &buffer, buffer.count, 0)
      guard count >= 20 else { throw systemError("recv", "netlink") }
      guard let code = Self.acknowledgement(in: buffer[..<count]) else {
        result += buffer[..<count]
        continue
      }
      guard code == 0 else {
        throw NetmapError(
          .init(rawValue: code), "netlink", subject,
          reason: unsafe String(cString: strerror(code)),
          remedy: code == EPERM ? "run as root, or with the capability CAP_NET_ADMIN" : "")
      }
      return result
    }
  }

  /// What the kernel says about a request: 0 if it has carried it out, else the `errno`.
  ///
  /// - Parameter answer: A datagram of the kernel.
  /// - Returns: Nil for a datagram with other messages.
  static func acknowledgement(in answer: ArraySlice<UInt8>) -> Int32? {
    // The type of a struct nlmsghdr is at byte 4; the code of a struct nlmsgerr follows it.
    guard Int32(answer.dropFirst(4).number() as UInt16) == NLMSG_ERROR else { return nil }
    return 0 &- (answer.dropFirst(16).number() as Int32)
  }
}
