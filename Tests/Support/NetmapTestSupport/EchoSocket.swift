internal import CLinux
internal import Glibc

/// Sends ICMP echo requests as ping(8) does; the kernel resolves the target with ARP in the calling thread's
/// namespace.
public struct EchoSocket: ~Copyable {
  private let descriptor: CInt

  /// - Throws: ``ProgramError`` without the required rights.
  public init() throws {
    descriptor = socket(
      AF_INET, CInt(CLINUX_SOCK_RAW | CLINUX_SOCK_CLOEXEC), CInt(IPPROTO_ICMP))
    guard descriptor >= 0 else { throw ProgramError(text: "raw socket: errno \(errno)") }
  }

  deinit { close(descriptor) }

  /// Sends one request, and waits for its reply.
  ///
  /// - Parameters:
  ///   - address: The address to send to.
  ///   - number: The request's number, which the reply must have.
  ///   - milliseconds: The longest time to wait.
  /// - Returns: False when no reply came.
  /// - Throws: ``ProgramError`` when the request cannot be sent.
  public func ping(
    _ address: (UInt8, UInt8, UInt8, UInt8), number: UInt16, milliseconds: CInt = 2000
  ) throws -> Bool {
    var request: [UInt8] = [8, 0, 0, 0, 0x4e, 0x4d, UInt8(number >> 8), UInt8(number & 0xff)]
    request += (0..<48).map { UInt8($0) }
    var sum: UInt32 = 0
    for (place, byte) in request.enumerated() { sum += UInt32(byte) << (place % 2 == 0 ? 8 : 0) }
    while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
    (request[2], request[3]) = (~UInt8(sum >> 8), ~UInt8(sum & 0xff))
    var name = sockaddr_in()
    name.sin_family = UInt16(AF_INET)
    unsafe withUnsafeMutableBytes(of: &name.sin_addr) {
      unsafe $0.copyBytes(from: [address.0, address.1, address.2, address.3])
    }
    let sent = unsafe withUnsafePointer(to: name) { name in
      unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe sendto(
          descriptor, request, request.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard sent == request.count else { throw ProgramError(text: "sendto: errno \(errno)") }
    let end = ContinuousClock.now + .milliseconds(Int(milliseconds))
    var answer = [UInt8](repeating: 0, count: 256)
    while ContinuousClock.now < end {
      var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard unsafe poll(&entry, 1, 10) == 1 else { continue }
      let count = unsafe recv(descriptor, &answer, answer.count, CInt(MSG_DONTWAIT))
      // The IP header precedes the ICMP message.
      guard count >= 76, answer[20] == 0, answer[24..<76] == request[4..<56] else { continue }
      return true
    }
    return false
  }
}
