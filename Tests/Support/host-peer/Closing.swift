import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore

extension HostPeer {
  /// Closes every descriptor, as programs that go to the background do, gives the numbers to files of its own, and goes
  /// on to use netmap.
  ///
  /// - Parameters:
  ///   - name: The beginning of the pipes' names.
  ///   - guards: Whether to place netmap's own descriptors near the limit.
  /// - Throws: ``NetmapError`` when a port does not open or a wait fails.
  static func closeEverything(_ name: String, guards: Bool) throws {
    var limit = rlimit()
    unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = 1024
    unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    if guards { PrivateDescriptors.guardAll() }
    // The numbers on which programs write are free as well.
    close(STDIN_FILENO)
    var first: [NetmapPort] = try ["{1", "}1"].map {
      try NetmapPort("netmap:\(name)\($0)", engine: HostEngine.shared)
    }
    try wait(for: first)
    let hidden = (0..<CInt(1024)).filter { PrivateDescriptors.contains($0) }
    if hidden.count < 3 { fail("only \(hidden.count) private descriptors") }
    if let low = hidden.first, low < (guards ? 768 : 3) { fail("\(low) is a private descriptor") }
    for file in hidden where fcntl(file, F_GETFD) != FD_CLOEXEC { fail("\(file) survives exec") }
    for file in 3..<CInt(1024) { close(file) }
    let null = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
    for file in hidden { dup2(null, file) }
    var device = stat()
    unsafe fstat(null, &device)
    var second = try ["{2", "}2"].map {
      try NetmapPort("netmap:\(name)\($0)", engine: HostEngine.shared)
    }
    first = []
    for file in hidden {
      var status = stat()
      guard unsafe fstat(file, &status) == 0, status.st_rdev == device.st_rdev else {
        fail("netmap closed or replaced the program's descriptor \(file)")
      }
    }
    try second[0].inject([1, 2, 3])
    try second[0].sync(.transmit)
    guard try second[1].wait(for: .receive, timeout: .seconds(5)) == .receive else {
      fail("the packet did not arrive")
    }
    try wait(for: second)
    say("ready")
    while true { pause() }
    second = []
  }

  /// Sleeps on descriptors for a moment.
  private static func wait(for ports: [NetmapPort]) throws {
    var items = ports.map { PollItem($0, for: []) }
    _ = try Poller().wait(for: &items, timeout: .milliseconds(10))
  }
}
