internal import Glibc
internal import NetmapCore
internal import ToolSupport

/// Manages VALE switches; see vale-ctl(8).
@main
enum ValeCtl {
  static func main() {
    let output = TextSink.standardOutput
    let errors = TextSink.standardError
    switch CommandLineReader.read(Array(CommandLine.arguments.dropFirst())) {
    case .help:
      output.write(Usage.text)
    case .version:
      output.line(PackageVersion.line(of: "vale-ctl"))
    case .wrong(let message):
      errors.line(message)
      errors.write(Usage.text)
      exit(1)
    case .action(let action, let options):
      let runner = Runner(options: options, output: output, errors: errors)
      exit(runner.run(action))
    }
  }
}
