import Glibc

/// Traffic of the host's own network stack, IPv4 and IPv6:
///
///     port-driver serve PORT              answers TCP and UDP on a port until it is killed
///     port-driver tcp ADDRESS BYTES       sends a stream, which the server must confirm
///     port-driver udp ADDRESS LENGTH COUNT   sends datagrams, each of which must come back
///     port-driver ping ADDRESS COUNT LENGTH  sends ICMP echo requests
///
/// Each client prints `ok` and its rate, or fails.
enum HostTraffic {
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// How long a client waits for an answer, milliseconds.
  private static let patience: CInt = 20_000

  private static func fail(_ call: String) -> Failure {
    Failure(description: "\(call): errno \(errno)")
  }

  /// The sum and count of a stream's bytes, by which the server confirms it.
  private struct Digest {
    var sum: UInt64 = 14_695_981_039_346_656_037
    var count: UInt64 = 0

    mutating func add(_ bytes: ArraySlice<UInt8>) {
      for byte in bytes { sum = (sum ^ UInt64(byte)) &* 1_099_511_628_211 }
      count += UInt64(bytes.count)
    }

    var bytes: [UInt8] {
      [sum, count].flatMap { value in unsafe withUnsafeBytes(of: value) { unsafe Array($0) } }
    }
  }

  // MARK: - Sockets

  /// An IPv6 socket, which takes IPv4 as well.
  private static func socket(_ kind: __socket_type, _ protocolNumber: CInt = 0) throws -> CInt {
    let file = Glibc.socket(
      AF_INET6, CInt(kind.rawValue) | CInt(SOCK_CLOEXEC.rawValue), protocolNumber)
    guard file >= 0 else { throw fail("socket") }
    var off: CInt = 0
    _ = unsafe setsockopt(file, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &off, 4)
    return file
  }

  private static func name(_ address: String, _ port: UInt16) throws -> sockaddr_in6 {
    var name = sockaddr_in6()
    name.sin6_family = UInt16(AF_INET6)
    name.sin6_port = port.bigEndian
    let text = address.contains(":") ? address : "::ffff:\(address)"
    guard unsafe inet_pton(AF_INET6, text, &name.sin6_addr) == 1 else {
      throw Failure(description: "\(address) is not an address")
    }
    return name
  }

  private static func with<R>(
    _ name: sockaddr_in6, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
  ) -> R {
    unsafe withUnsafePointer(to: name) { name in
      unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
      }
    }
  }

  private static func waitToRead(_ file: CInt) throws {
    var entry = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
    guard unsafe poll(&entry, 1, patience) == 1 else {
      throw Failure(description: "no answer after \(patience) ms")
    }
  }

  // MARK: - Server

  static func serve(port: UInt16) throws {
    let (stream, datagrams) = (try socket(SOCK_STREAM), try socket(SOCK_DGRAM))
    var on: CInt = 1
    _ = unsafe setsockopt(stream, SOL_SOCKET, SO_REUSEADDR, &on, 4)
    let any = try name("::", port)
    for file in [stream, datagrams] {
      guard unsafe with(any, { unsafe bind(file, $0, $1) }) == 0 else { throw fail("bind") }
    }
    guard listen(stream, 16) == 0 else { throw fail("listen") }
    PortDriver.say("ready")
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    while true {
      var entries = [
        pollfd(fd: stream, events: Int16(POLLIN), revents: 0),
        pollfd(fd: datagrams, events: Int16(POLLIN), revents: 0),
      ]
      guard unsafe poll(&entries, 2, -1) > 0 else { continue }
      if entries[1].revents != 0 { try echo(datagrams, &buffer) }
      if entries[0].revents != 0 { try confirm(stream, &buffer) }
    }
  }

  private static func echo(_ file: CInt, _ buffer: inout [UInt8]) throws {
    var peer = sockaddr_in6()
    var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
    let count = unsafe withUnsafeMutablePointer(to: &peer) { peer in
      unsafe peer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe recvfrom(file, &buffer, buffer.count, 0, $0, &size)
      }
    }
    guard count >= 0 else { throw fail("recvfrom") }
    _ = unsafe with(peer) { unsafe sendto(file, buffer, count, 0, $0, $1) }
  }

  private static func confirm(_ listener: CInt, _ buffer: inout [UInt8]) throws {
    let file = accept(listener, nil, nil)
    guard file >= 0 else { throw fail("accept") }
    defer { close(file) }
    var digest = Digest()
    while true {
      let count = unsafe recv(file, &buffer, buffer.count, 0)
      guard count > 0 else { break }
      digest.add(buffer[..<count])
    }
    _ = unsafe send(file, digest.bytes, 16, 0)
  }

  // MARK: - Clients

  static func stream(to address: String, port: UInt16, bytes: Int) throws {
    let file = try socket(SOCK_STREAM)
    defer { close(file) }
    let target = try name(address, port)
    guard unsafe with(target, { unsafe connect(file, $0, $1) }) == 0 else { throw fail("connect") }
    var pattern = [UInt8](repeating: 0, count: 1 << 16)
    for index in pattern.indices {
      pattern[index] = UInt8(truncatingIfNeeded: index &* 167 &+ index >> 8)
    }
    var digest = Digest()
    let clock = ContinuousClock()
    let start = clock.now
    var left = bytes
    while left > 0 {
      let count = unsafe send(file, pattern, min(left, pattern.count), 0)
      guard count > 0 else { throw fail("send") }
      digest.add(pattern[..<count])
      left -= count
    }
    shutdown(file, CInt(SHUT_WR))
    try waitToRead(file)
    var answer = [UInt8](repeating: 0, count: 16)
    guard unsafe recv(file, &answer, 16, CInt(MSG_WAITALL)) == 16, answer == digest.bytes else {
      throw Failure(description: "the stream arrived damaged")
    }
    let time = clock.now - start
    PortDriver.say("ok \(Int(Double(bytes) * 8 / (time / .seconds(1)) / 1e6)) Mb/s")
  }

  static func datagrams(to address: String, port: UInt16, length: Int, _ count: Int) throws {
    let file = try socket(SOCK_DGRAM)
    defer { close(file) }
    let target = try name(address, port)
    guard unsafe with(target, { unsafe connect(file, $0, $1) }) == 0 else { throw fail("connect") }
    var answer = [UInt8](repeating: 0, count: 1 << 16)
    for number in 0..<count {
      let datagram = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ number) }
      guard unsafe send(file, datagram, length, 0) == length else { throw fail("send") }
      try waitToRead(file)
      let received = unsafe recv(file, &answer, answer.count, 0)
      guard received == length, answer[..<length] == datagram[...] else {
        throw Failure(description: "datagram \(number) came back damaged")
      }
    }
    PortDriver.say("ok")
  }

  static func ping(_ address: String, count: Int, length: Int) throws {
    let isV6 = address.contains(":")
    let file =
      isV6
      ? try socket(SOCK_RAW, CInt(IPPROTO_ICMPV6))
      : Glibc.socket(
        AF_INET, CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue), CInt(IPPROTO_ICMP))
    guard file >= 0 else { throw fail("socket") }
    defer { close(file) }
    var times: [Duration] = []
    let clock = ContinuousClock()
    for number in 0..<count {
      var request: [UInt8] = [
        isV6 ? 128 : 8, 0, 0, 0, 0x6e, 0x6d, UInt8(number >> 8 & 0xff), UInt8(number & 0xff),
      ]
      request += (0..<length).map { UInt8(truncatingIfNeeded: $0) }
      if !isV6 {
        var sum: UInt32 = 0
        for (place, byte) in request.enumerated() {
          sum += UInt32(byte) << (place % 2 == 0 ? 8 : 0)
        }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        (request[2], request[3]) = (~UInt8(sum >> 8), ~UInt8(sum & 0xff))
      }
      let start = clock.now
      let sent: Int
      if isV6 {
        sent = unsafe with(try name(address, 0)) {
          unsafe sendto(file, request, request.count, 0, $0, $1)
        }
      } else {
        var target = sockaddr_in()
        target.sin_family = UInt16(AF_INET)
        _ = unsafe inet_pton(AF_INET, address, &target.sin_addr)
        sent = unsafe withUnsafePointer(to: target) { target in
          unsafe target.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            unsafe sendto(
              file, request, request.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
          }
        }
      }
      guard sent == request.count else { throw fail("sendto") }
      try awaitReply(file, isV6, request)
      times.append(clock.now - start)
    }
    times.sort()
    PortDriver.say("ok \(Int(times[times.count / 2] / .nanoseconds(1))) ns")
  }

  private static func awaitReply(_ file: CInt, _ isV6: Bool, _ request: [UInt8]) throws {
    var answer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      try waitToRead(file)
      let count = unsafe recv(file, &answer, answer.count, 0)
      // An IPv4 raw socket shows the IP header, an IPv6 one does not.
      let start = isV6 ? 0 : 20
      guard count == start + request.count, answer[start] == (isV6 ? 129 : 0),
        answer[(start + 4)..<count] == request[4...]
      else { continue }
      return
    }
  }
}
